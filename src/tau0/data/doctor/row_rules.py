"""Checks of one episode's rows: can they be read, does time pass evenly, do the numbers that count rows agree."""

from __future__ import annotations

import numpy as np

from tau0.data.doctor.survey import EpisodeView
from tau0.data.episodes import Dataset
from tau0.data.findings import Finding, Severity
from tau0.data.row_checks import listed, place, row_errors
from tau0.data.schema import ACTION, EPISODE_INDEX, FRAME_INDEX, STATE, TIMESTAMP

GAP = 1.5
"""A step of time this many times the usual is a gap."""
RATE_TOLERANCE = 0.02
STUCK_S = 1.0


def check_episode_rows(dataset: Dataset, view: EpisodeView) -> list[Finding]:
    """Everything about the rows of one episode."""
    if view.rows is None:
        return [_unreadable(dataset, view)]
    found = row_errors(view.rows, view.episode, dataset.info, dataset.tasks)
    for check in (_gaps, _rate, _late_start, _numbering, _repeated):
        found += check(dataset, view)
    return found


def _unreadable(dataset: Dataset, view: EpisodeView) -> Finding:
    fault = view.fault.removeprefix(f"{view.episode.data_path} ").removeprefix(f"{view.episode.data_path}: ")
    return Finding(
        severity="error",
        check="rows",
        where=place(view.episode, dataset.info),
        what=fault,
        advice="complete the download or record the episode again; until then leave it out",
        episode=view.episode.index,
    )


def _gaps(dataset: Dataset, view: EpisodeView) -> list[Finding]:
    steps = np.diff(_times(view))
    gaps = np.flatnonzero(steps > GAP / dataset.fps) + 1
    if not len(gaps):
        return []
    what = f"time jumps by {steps.max():.3f} s at row {gaps[0]}, expected {1 / dataset.fps:.3f} s; {len(gaps)} such, at rows {listed(gaps)}"
    return [_finding(dataset, view, "warning", "time", what, "frames were lost: read by timestamp, or split the episode at the gap")]


def _rate(dataset: Dataset, view: EpisodeView) -> list[Finding]:
    steps = np.diff(_times(view))
    if len(steps) < 3 or not (median := float(np.median(steps))) > 0 or abs(median * dataset.fps - 1) <= RATE_TOLERANCE:
        return []
    what = f"rows are {median:.4f} s apart, that is {1 / median:.2f} a second; meta/info.json says {dataset.fps:g}"
    return [_finding(dataset, view, "warning", "time", what, "correct fps, or the timestamps: speeds would be learnt wrong")]


def _late_start(dataset: Dataset, view: EpisodeView) -> list[Finding]:
    first = float(_times(view)[0])
    if abs(first) <= 0.25 / dataset.fps:
        return []
    what = f"the first timestamp is {first:.3f} s, expected 0"
    return [_finding(dataset, view, "warning", "time", what, "timestamps are taken relative to the first; nothing to do")]


def _numbering(dataset: Dataset, view: EpisodeView) -> list[Finding]:
    assert view.rows is not None
    found = []
    expected = {FRAME_INDEX: np.arange(view.episode.length), EPISODE_INDEX: np.full(view.episode.length, view.episode.index)}
    for name, right in expected.items():
        wrong = np.flatnonzero(view.rows[name] != right)
        if len(wrong):
            what = f"{name} is {view.rows[name][wrong[0]]} at row {wrong[0]}, expected {right[wrong[0]]}; {len(wrong)} rows differ"
            found.append(_finding(dataset, view, "warning", "numbering", what, "rows are taken in the order of the file; renumber them"))
    return found


def _repeated(dataset: Dataset, view: EpisodeView) -> list[Finding]:
    """Rows that say the same again while the pictures go on: a recorder that hung."""
    state, action = view.numbers(STATE), view.numbers(ACTION)
    moving = [watched.motion for watched in view.cameras if len(watched.motion) == view.episode.length - 1]
    if state is None or not moving:
        return []
    same = (np.diff(state, axis=0) == 0).all(1)
    if action is not None:
        same &= (np.diff(action, axis=0) == 0).all(1)
    start, length = longest_run(same)
    if length < STUCK_S * dataset.fps or not same.any() or same.all():
        return []
    within, typical = np.mean([motion[start : start + length].mean() for motion in moving]), np.mean([motion.mean() for motion in moving])
    if within < 0.5 * typical:
        return []
    what = f"rows {start} to {start + length} repeat one state and action, while the pictures go on moving"
    return [_finding(dataset, view, "warning", "repeated rows", what, "the recorder may have hung: leave these rows out")]


def longest_run(flags: np.ndarray) -> tuple[int, int]:
    """Start and length of the longest run of True; (0, 0) without any."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    starts, stops = edges[::2], edges[1::2]
    if not len(starts):
        return 0, 0
    best = int((stops - starts).argmax())
    return int(starts[best]), int(stops[best] - starts[best])


def _times(view: EpisodeView) -> np.ndarray:
    assert view.rows is not None
    return np.asarray(view.rows[TIMESTAMP], np.float64)


def _finding(dataset: Dataset, view: EpisodeView, severity: Severity, check: str, what: str, advice: str) -> Finding:
    where = place(view.episode, dataset.info)
    return Finding(severity=severity, check=check, where=where, what=what, advice=advice, episode=view.episode.index)
