"""Which episodes of a run are worth looking at, and how much of them fits on a page."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tau0.evaluate.records import EpisodeRecord
from tau0.evaluate.report_figures import episode_figure
from tau0.evaluate.report_results import ORACLES, headline_mode, ordered_modes
from tau0.evaluate.trace import EpisodeTrace

_TELLING = {"revised": 0, "simulated": 1, "gate": 2, "direct": 3}


@dataclass(frozen=True, kw_only=True)
class Met:
    """One episode of a run: an initial state, met in one mode."""

    task: str
    seed: int
    mode: str
    success: bool


def met_by(record: EpisodeRecord) -> Met:
    """The record's episode."""
    result = record.result
    return Met(task=result.task, seed=result.seed, mode=result.mode, success=result.success)


def episodes_worth_seeing(met: Sequence[Met], limit: int, among: Sequence[Met] = ()) -> list[int]:
    """The indices of at most `limit` of the episodes `met`, in the order of tasks, seeds and modes, the headline mode first.

    Tasks take turns. Of each task come first those of the headline mode (see `headline_mode`) in which it and the simplest mode differ,
    wins and losses by turns, then its successes and failures by turns, then the other modes' in the same way, oracles last.

    Args:
        met: Those to choose from.
        limit: How many at most.
        among: All episodes of the run, which tell what differs; `met` where nothing is given.
    """
    modes = ordered_modes([one.mode for one in among or met])
    modes = sorted(modes, key=lambda mode: mode != headline_mode(modes))
    tasks = list(dict.fromkeys(one.task for one in among or met))
    queues = [_by_interest([i for i, one in enumerate(met) if one.task == task], met, among or met) for task in tasks]
    turns = [queue[turn] for turn in range(max(map(len, queues), default=0)) for queue in queues if turn < len(queue)]
    return sorted(turns[:limit], key=lambda i: (tasks.index(met[i].task), met[i].seed, modes.index(met[i].mode)))


def _by_interest(rows: Sequence[int], met: Sequence[Met], among: Sequence[Met]) -> list[int]:
    modes = [one.mode for one in among]
    first, headline = ordered_modes(modes)[0], headline_mode(modes)
    simplest = {(one.task, one.seed): one.success for one in among if one.mode == first}
    groups: dict[tuple[int, int], tuple[list[int], list[int]]] = {}
    for i in rows:
        one = met[i]
        rank = 0 if one.mode == headline else 2 if one.mode in ORACLES else 1
        differs = one.mode == headline and simplest.get((one.task, one.seed), one.success) != one.success
        groups.setdefault((rank, 0 if differs else 1), ([], []))[0 if one.success else 1].append(i)
    return [i for key in sorted(groups) for i in _by_turns(*groups[key])]


def _by_turns(first: Sequence[int], second: Sequence[int]) -> list[int]:
    longest = max(len(first), len(second))
    return [row[turn] for turn in range(longest) for row in (first, second) if turn < len(row)]


def same_state(record: Met, met: Iterable[Met]) -> list[dict[str, Any]]:
    """What the other modes made of the same initial state, for the page."""
    others = {one.mode: one.success for one in met if (one.task, one.seed) == (record.task, record.seed) and one.mode != record.mode}
    return [{"mode": mode, "success": others[mode]} for mode in ordered_modes(list(others))]


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What a page holds of the episodes.

    Attributes:
        episodes: One JSON object an episode, as text.
        num_plain: Decisions that are shown without pictures, for lack of room.
        num_left_out: Episodes for which there was no room at all.
    """

    episodes: tuple[str, ...]
    num_plain: int
    num_left_out: int


def fit_episodes(traces: Iterable[EpisodeTrace], count: int, max_bytes: int, met: Sequence[Met] = ()) -> Fitted:
    """The episodes as a page wants them, in at most `max_bytes` altogether.

    Each may use its even share of what is left. One that needs more loses the pictures of its least telling decisions first: those
    executed at once, then those imagined, then those revised, the later before the earlier. Film, curves, scores and words stay.
    One that does not fit even so is left out.

    Args:
        traces: With pictures. Taken one by one, so that only one need be in memory.
        count: How many there are.
        max_bytes: Of JSON.
        met: All episodes of the run, for what became of the same initial state in other modes.
    """
    texts: list[str] = []
    left, num_plain, num_left_out = max_bytes, 0, 0
    for index, trace in enumerate(traces):
        here = Met(task=trace.task, seed=trace.seed, mode=trace.mode, success=trace.success)
        figure = {**episode_figure(trace), "others": same_state(here, met)}
        plain, text = _slimmed(figure, left // max(1, count - index))
        if len(text) > left:
            num_left_out += 1
            continue
        texts.append(text)
        left, num_plain = left - len(text), num_plain + plain
    return Fitted(episodes=tuple(texts), num_plain=num_plain, num_left_out=num_left_out)


def _slimmed(figure: dict[str, Any], allowed: int) -> tuple[int, str]:
    """How many decisions lost their pictures, and the episode as JSON of ASCII, safe inside a page."""
    decisions = figure["decisions"]
    too_much, plain = len(_json(figure)) - allowed, 0
    with_pictures = [i for i, decision in enumerate(decisions) if decision["sprite"]]
    for i in sorted(with_pictures, key=lambda i: (-_TELLING[decisions[i]["kind"]], -i)):
        if too_much <= 0:
            break
        too_much -= len(decisions[i]["sprite"]["src"])
        decisions[i] = _without_pictures(decisions[i])
        plain += 1
    return plain, _json(figure)


def _without_pictures(decision: dict[str, Any]) -> dict[str, Any]:
    rounds = [{**one, "candidates": [{**candidate, "frames": None} for candidate in one["candidates"]]} for one in decision["rounds"]]
    return {**decision, "sprite": None, "now": None, "real": [], "rounds": rounds, "isPlain": True}


def _json(figure: dict[str, Any]) -> str:
    text = json.dumps(figure, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
