"""Checks of what a dataset says in words and flags: instructions, success, progress, subtasks."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from tau0.data.doctor.survey import EpisodeView
from tau0.data.episodes import Dataset
from tau0.data.findings import Finding
from tau0.data.row_checks import listed
from tau0.data.schema import ACTION, NEXT_SUCCESS, PROGRESS, STATE, SUBTASK_INDEX, TASK_INDEX

SUCCESS_COLUMNS = ("is_episode_successful", NEXT_SUCCESS, "success")


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """How many episodes carry a kind of label.

    Attributes:
        label: Such as "instruction".
        episodes: That carry it.
        detail: What it says, in words.
    """

    label: str
    episodes: int
    detail: str


@dataclass
class Labels:
    """What is said about episodes, gathered over them."""

    texts: Counter[str] = field(default_factory=Counter)
    instructed: int = 0
    empty: list[int] = field(default_factory=list)
    several: list[int] = field(default_factory=list)
    successes: dict[int, bool] = field(default_factory=dict)
    progress: list[int] = field(default_factory=list)
    segmented: dict[int, int] = field(default_factory=dict)
    actions: int = 0
    states: int = 0
    used: set[int] = field(default_factory=set)

    def add(self, dataset: Dataset, view: EpisodeView) -> None:
        """Takes in an episode."""
        episode, rows = view.episode, view.rows
        if episode.success is not None:
            self.successes[episode.index] = episode.success
        if episode.segments:
            self.segmented[episode.index] = len(episode.segments)
        if rows is None:
            return
        self.actions += ACTION in rows
        self.states += STATE in rows
        self.used |= set(rows[TASK_INDEX].tolist())
        said = {dataset.tasks[index] for index in set(rows[TASK_INDEX].tolist()) & set(dataset.tasks)}
        self.texts.update(said - {""})
        is_told = any(text.strip() for text in said)
        self.instructed += is_told
        if said and not is_told:
            self.empty.append(episode.index)
        if len(said) > 1 or len(episode.tasks) > 1:
            self.several.append(episode.index)
        flag = next((rows[name] for name in SUCCESS_COLUMNS if name in rows), None)
        if flag is not None:
            self.successes.setdefault(episode.index, bool(np.asarray(flag).any()))
        if PROGRESS in rows:
            self.progress.append(episode.index)
        if SUBTASK_INDEX in rows:
            self.segmented.setdefault(episode.index, len(np.unique(rows[SUBTASK_INDEX])))

    def coverage(self, dataset: Dataset) -> tuple[Coverage, ...]:
        """What may be supervised, label by label."""
        total, won = len(dataset), sum(self.successes.values())
        flags = f"{won} solved, {len(self.successes) - won} not" if self.successes else "no flag: progress has to come from elsewhere"
        return (
            Coverage(label="video", episodes=total if dataset.cameras else 0, detail=", ".join(dataset.cameras) or "no camera"),
            Coverage(label="state", episodes=self.states, detail=_size(dataset, STATE)),
            Coverage(label="action", episodes=self.actions, detail=_size(dataset, ACTION)),
            Coverage(
                label="instruction",
                episodes=total - len(self.empty),
                detail=f"{len(self.texts)} different text{'' if len(self.texts) == 1 else 's'}",
            ),
            Coverage(label="success", episodes=len(self.successes), detail=flags),
            Coverage(label="progress", episodes=len(self.progress), detail="row by row" if self.progress else "none recorded"),
            Coverage(label="subtasks", episodes=len(self.segmented), detail=f"{sum(self.segmented.values())} segments"),
        )

    def findings(self, dataset: Dataset) -> list[Finding]:
        """What is missing or odd about them."""
        where, found = dataset.info.tasks_file, []
        if self.empty:
            what = f"{len(self.empty)} of {len(dataset)} episodes have an empty instruction: {listed(self.empty, 12)}"
            found.append(_finding("warning", "instructions", where, what, "they must not be conditioned on; write what is done in them"))
        if self.several:
            what = f"{len(self.several)} episodes list more than one text, {listed(self.several, 12)}; the first is taken"
            found.append(_finding("note", "instructions", where, what, "see that the first of them is the instruction"))
        unused = sorted(set(dataset.tasks) - self.used)
        if unused and self.used:
            what = f"texts that belong to no row: {listed([repr(dataset.tasks[index]) for index in unused], 4)} ({len(unused)} in all)"
            found.append(_finding("note", "instructions", where, what, "nothing to do"))
        if ACTION not in dataset.features:
            what, advice = f"there is no feature {ACTION!r}", "it can supervise video alone: progress is learnt under executed actions"
            found.append(_finding("warning", "supervision", "meta/info.json", what, advice))
        if not dataset.cameras:
            advice = "it can supervise actions alone, if anything"
            found.append(_finding("warning", "supervision", "meta/info.json", "there is no camera", advice))
        return found


def _size(dataset: Dataset, feature: str) -> str:
    return f"{int(np.prod(dataset.features[feature].shape))} numbers" if feature in dataset.features else "no such feature"


def _finding(severity: str, check: str, where: str, what: str, advice: str) -> Finding:
    return Finding(severity="note" if severity == "note" else "warning", check=check, where=where, what=what, advice=advice)
