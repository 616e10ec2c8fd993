"""What a run does not train on, and why: written down beside it, and said."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tau0.data.aligned import AlignedSource
from tau0.data.quarantine import Quarantined, check_quarantine
from tau0.train.source import TrainingSource

QUARANTINE_NAME, REJECTED_NAME, UNSEEN_NAME = "quarantine.json", "rejected.json", "unseen.jsonl"


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """What is left out of one source.

    Attributes:
        name: Of the source.
        dataset: Its folder.
        episodes: Whole ones, with their reasons.
        num_episodes: How many the dataset has.
        rejected: Samples, by reason.
        num_rows: How many rows there are to begin one at.
        unseen: Numbers of those episodes whose pictures could not be read.
    """

    name: str
    dataset: Path
    episodes: tuple[Quarantined, ...]
    num_episodes: int
    rejected: Mapping[str, int]
    num_rows: int
    unseen: tuple[int, ...] = ()

    @classmethod
    def of(cls, name: str, source: AlignedSource, unreadable: Mapping[int, str], rejected: Mapping[str, int]) -> LeftOut:
        """Of a source whose pictures and numbers have been looked at.

        Raises:
            DatasetError: When more than half of the episodes are bad.
        """
        unseen = [Quarantined(episode=episode, reason=reason) for episode, reason in sorted(unreadable.items())]
        episodes, total = (*source.quarantined, *unseen), len(source.dataset.episodes)
        check_quarantine(source.dataset.root, episodes, total)
        return cls(
            name=name,
            dataset=source.dataset.root,
            episodes=episodes,
            num_episodes=total,
            rejected=rejected,
            num_rows=source.num_rows,
            unseen=tuple(sorted(unreadable)),
        )

    def sentences(self) -> list[str]:
        """A line for episodes and one for samples, where there are any."""
        said = []
        if self.episodes:
            first = self.episodes[0]
            said.append(
                f"{self.name}: {len(self.episodes)} of {self.num_episodes} episodes left out, see {QUARANTINE_NAME}; "
                f"the first, episode {first.episode}: {first.reason}"
            )
        if self.rejected:
            reasons = ", ".join(f"{count} by their {reason}" for reason, count in self.rejected.items())
            said.append(f"{self.name}: samples rejected as outliers, of {self.num_rows}: {reasons}; see {REJECTED_NAME}")
        return said


def record_left_out(folder: Path, sources: Sequence[LeftOut]) -> list[str]:
    """Writes down what is left out of all sources, and says it in a line each. Files of an earlier run that no longer hold are replaced."""
    bad = [
        {"source": source.name, "dataset": str(source.dataset), "episode": episode.episode, "reason": episode.reason}
        for source in sources
        for episode in source.episodes
    ]
    rejected = {source.name: dict(source.rejected) for source in sources if source.rejected}
    for name, found in ((QUARANTINE_NAME, bad), (REJECTED_NAME, rejected)):
        if found:
            (folder / name).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        else:
            (folder / name).unlink(missing_ok=True)
    return [sentence for source in sources for sentence in source.sentences()]


def record_unseen(folder: Path, source: TrainingSource) -> list[str]:
    """Appends what could not be seen while training from video, which nobody knew before, and says it in a line for each source."""
    said, lines = [], list[str]()
    for samples in source.sources:
        name, unseen = samples.ingredient.name, dict(sorted(samples.ingredient.pictures.unreadable.items()))
        lines += [json.dumps({"source": name, "episode": episode, "reason": reason}) + "\n" for episode, reason in unseen.items()]
        if unseen:
            first, text = next(iter(unseen.items()))
            said.append(
                f"{name}: samples of {len(unseen)} episodes supervised nothing, see {UNSEEN_NAME}; the first, episode {first}: {text}"
            )
    if lines:
        with (folder / UNSEEN_NAME).open("a", encoding="utf-8") as file:
            file.writelines(lines)
    return said
