"""Catalogues of made-up episodes, for index arithmetic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tau0.data.catalogue import EpisodeInfo


def catalogue(*episodes: dict[str, Any]) -> tuple[EpisodeInfo, ...]:
    """Episodes numbered from 0 with the given attributes, `length` among them."""
    infos, start = [], 0
    for index, attributes in enumerate(episodes):
        given = {"index": index, "task": "reach-v3", "tasks": ("reach the ball",), **attributes}
        infos.append(EpisodeInfo(start=start, data_path=Path("none"), videos={}, **given))
        start = infos[-1].stop
    return tuple(infos)


def collected(num_tasks: int = 2, demonstrations: int = 20, failures: int = 6, length: int = 40) -> tuple[EpisodeInfo, ...]:
    """What a collection looks like: per task demonstrations, failures, and three branches off every fifth demonstration."""
    episodes: list[dict[str, Any]] = []
    for task in range(num_tasks):
        first = len(episodes)
        own = {"task": f"task-{task}", "length": length}
        episodes += [{**own, "kind": "demonstration", "success": True} for _ in range(demonstrations)]
        episodes += [{**own, "kind": "failure", "success": False} for _ in range(failures)]
        for parent in range(first, first + demonstrations, 5):
            for branch in ("expert", "near_miss", "wrong"):
                left = {"parent": parent, "parent_frame": 11, "group": parent, "branch": branch}
                episodes.append({**own, "kind": "branch", "length": 25, **left})
    return catalogue(*episodes)


@st.composite
def catalogues(draw: st.DrawFn) -> tuple[EpisodeInfo, ...]:
    """Random catalogues in which branches leave earlier episodes."""
    episodes: list[dict[str, Any]] = []
    for index in range(draw(st.integers(1, 6))):
        length = draw(st.integers(1, 60))
        parents = [i for i, episode in enumerate(episodes) if episode["kind"] != "branch"]
        kind = draw(st.sampled_from(["demonstration", "failure", "branch"] if parents else ["demonstration", "failure"]))
        attributes = {"kind": kind, "length": length}
        if kind == "branch":
            parent = draw(st.sampled_from(parents))
            frame = draw(st.integers(0, episodes[parent]["length"] - 1))
            attributes |= {"parent": parent, "parent_frame": frame, "group": index, "branch": draw(st.sampled_from(["expert", "wrong"]))}
        episodes.append(attributes)
    return catalogue(*episodes)
