"""From a mixture as people write it to sources that can be trained on, and to the robot that the checkpoint is for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from tau0.actions import ActionCodec
from tau0.contract import ActionSpec, ContractError, Embodiment
from tau0.data.aligned import AlignedSource
from tau0.data.description import SourceDescription
from tau0.data.descriptions import PRESETS
from tau0.data.episodes import Dataset
from tau0.data.layout import LAYOUTS, Layout
from tau0.data.mixture import MixtureSource, MixtureSpec
from tau0.data.schema import ACTION
from tau0.data.source_facts import SourceFacts
from tau0.data.source_statistics import SourceStatistics
from tau0.data.windows import WindowSpec
from tau0.train.clips import PictureSpec
from tau0.train.picture_encoder import EncoderFacts
from tau0.train.pictures import PictureSource
from tau0.train.rejection import Rejections
from tau0.train.samples import Ingredient
from tau0.worlds.registry import ROBOTS

CHUNK = 65536
GRIPPER = "gripper"
COLLECTED = {"metaworld": "metaworld", "two_arm": "dual_arm"}
"""Descriptions of what `tau0 collect` records, and the layout of each."""


def dataset_mixture(root: Path, embodiment: Embodiment, num_future: int) -> MixtureSpec:
    """A mixture of one dataset that `tau0 collect` recorded with this robot.

    Raises:
        ContractError: When the dataset does not fit the embodiment, whose first field that differs is named, or nothing that `tau0 collect`
            records has its cameras and actions.
        DatasetError: When the dataset cannot be read.
    """
    Dataset.open(root).check_against(embodiment)
    description = _collected(embodiment)
    return MixtureSpec(
        layout=COLLECTED[description.name],
        rate_hz=embodiment.control_hz,
        cameras=embodiment.cameras,
        sources=(MixtureSource(dataset=root, description=description),),
        action_horizon=embodiment.action_horizon,
        frame_stride=embodiment.frame_stride,
        num_future=num_future,
        weigh="samples",
    )


def _collected(embodiment: Embodiment) -> SourceDescription:
    """What the numbers of such a robot mean: told by its cameras and its number of actions, of any size and rate."""
    cameras = {camera.name for camera in embodiment.cameras}
    for name in COLLECTED:
        description = PRESETS[name]
        if set(description.cameras.values()) == cameras and description.sizes[ACTION] == embodiment.action.dim:
            return description
    robots = " or ".join(f"{', '.join(PRESETS[name].cameras)} and {PRESETS[name].sizes[ACTION]} actions" for name in COLLECTED)
    raise ContractError(
        f"{embodiment.name} has cameras {', '.join(sorted(cameras))} and {embodiment.action.dim} actions, what `tau0 collect` records has "
        f"{robots}: train on a mixture, which says what the numbers mean"
    )


def align_sources(
    mixture: MixtureSpec,
    on_episode: Callable[[str, int, int], None] = lambda _name, _done, _total: None,
    cache: Path | None = None,
) -> tuple[AlignedSource, ...]:
    """Every source at the mixture's rate and in its layout. What was worked out before is not again.

    Args:
        mixture: What to open.
        on_episode: Gets the source's name, the episodes done and how many there are.
        cache: Folder for the rows of all sources; beside each dataset unless given.

    Raises:
        ContractError: When a dataset is not what its description says.
        DatasetError: When a dataset cannot be used, or what is worked out cannot be written.
    """
    return tuple(
        AlignedSource.open(
            Dataset.open(source.dataset),
            source.description,
            LAYOUTS[mixture.layout],
            mixture.rate_hz,
            cache=cache,
            action_horizon=mixture.action_horizon,
            on_episode=lambda done, total, name=name: on_episode(name, done, total),
        )
        for name, source in zip(source_names(mixture), mixture.sources, strict=True)
    )


def source_names(mixture: MixtureSpec) -> tuple[str, ...]:
    """What each source is called: as its description is, with a number where that is not enough."""
    names = [source.description.name for source in mixture.sources]
    often, seen = Counter(names), Counter[str]()
    found = []
    for name in names:
        seen[name] += 1
        found.append(f"{name}-{seen[name]}" if often[name] > 1 else name)
    return tuple(found)


def selected_episodes(source: MixtureSource, aligned: AlignedSource) -> frozenset[int]:
    """Numbers of the episodes of a source that the mixture takes. Raises `MixtureError` when there is none."""
    return source.select.numbers(aligned.dataset.episodes, str(source.dataset))


def robot_codecs(sources: Sequence[AlignedSource]) -> dict[str, ActionCodec]:
    """What normalises each robot: the statistics of all its sources together."""
    pooled: dict[str, SourceStatistics] = {}
    taken: list[AlignedSource] = []
    for source in sources:
        is_twice = any(o.dataset.root == source.dataset.root and o.description == source.description for o in taken)
        robot = source.description.embodiment
        if not is_twice:
            pooled[robot] = pooled[robot].merged(source.statistics) if robot in pooled else source.statistics
            taken.append(source)
    return {robot: statistics.codec(source_layout(sources)) for robot, statistics in pooled.items()}


def source_layout(sources: Sequence[AlignedSource]) -> Layout:
    """The layout that all sources of a mixture have."""
    return sources[0].layout


def source_facts(mixture: MixtureSpec, sources: Sequence[AlignedSource]) -> tuple[SourceFacts, ...]:
    """What a checkpoint says of what it was trained on."""
    return tuple(
        SourceFacts(name=name, robot=source.description.embodiment, rows=source.num_rows, statistics=source.statistics)
        for name, source in zip(source_names(mixture), sources, strict=True)
    )


def own_robot(sources: Sequence[AlignedSource] | Sequence[MixtureSource]) -> str:
    """The robot that the checkpoint acts for: that of the first source that the policy imitates, or else of the first."""
    imitated = [source for source in sources if "action" in source.description.supervises]
    return (imitated or list(sources))[0].description.embodiment


def absent_numbers(sources: Sequence[AlignedSource], policy_dim: int) -> tuple[int, ...]:
    """Indices of the policy's numbers that the robot which the checkpoint acts for does not have."""
    robot = own_robot(sources)
    present = np.any([source.action_mask for source in sources if source.description.embodiment == robot], axis=0)
    return tuple(np.flatnonzero(~present[:policy_dim]).tolist())


def world_robot(mixture: MixtureSpec) -> Embodiment | None:
    """The robot of one of our worlds for which the checkpoint acts, where the mixture shows and moves it as that world does; else None."""
    if mixture.embodiment is not None:
        return mixture.embodiment if mixture.embodiment in ROBOTS.values() else None
    known = ROBOTS.get(own_robot(mixture.sources))
    seen = (mixture.cameras, mixture.rate_hz, mixture.action_horizon, mixture.frame_stride)
    is_alike = known is not None and seen == (known.cameras, known.control_hz, known.action_horizon, known.frame_stride)
    return known if is_alike else None


def mixture_embodiment(mixture: MixtureSpec, sources: Sequence[AlignedSource], policy_dim: int | None = None) -> Embodiment:
    """The robot that the checkpoint acts for: the mixture's, or one of our worlds', or made up of what is known.

    What is known are the cameras by role, the layout's names, and limits from what was done.

    Args:
        mixture: With the cameras and the rate.
        sources: Of the mixture.
        policy_dim: How many of the layout's numbers the policy has, the first ones; all unless given.

    Raises:
        ContractError: When the mixture's robot has another number of actions than the policy.
    """
    if mixture.embodiment is not None:
        wanted = source_layout(sources).dim if policy_dim is None else policy_dim
        if mixture.embodiment.action.dim != wanted:
            raise ContractError(f"the mixture's embodiment has {mixture.embodiment.action.dim} actions, the policy has {wanted}")
        return mixture.embodiment
    robot, layout = own_robot(sources), source_layout(sources)
    known = world_robot(mixture)
    if known is not None and known.action.dim == (layout.dim if policy_dim is None else policy_dim):
        return known
    own = slice(policy_dim)
    low, high = action_range([source for source in sources if source.description.embodiment == robot])
    grippers = [i for part in layout.parts if part.name.endswith(GRIPPER) for i in range(layout.dim)[layout.span(part.name)]]
    names = layout.names[own]
    return Embodiment(
        name=robot,
        cameras=mixture.cameras,
        state_names=names,
        action=ActionSpec(names=names, low=low[own], high=high[own], gripper=tuple(i for i in grippers if i < len(names))),
        control_hz=mixture.rate_hz,
        action_horizon=mixture.action_horizon,
        frame_stride=mixture.frame_stride,
    )


def action_range(sources: Sequence[AlignedSource]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Smallest and largest absolute action that was done or advised, number by number; 0 for what no source has."""
    dim = source_layout(sources).dim
    low, high = np.full(dim, np.inf), np.full(dim, -np.inf)
    for source in sources:
        has = source.action_mask
        for column in (source.action, source.advice)[: 1 + (source.advice is not source.action)]:
            for first in range(0, source.num_rows, CHUNK):
                part = column[first : first + CHUNK, has]
                low[has], high[has] = np.minimum(low[has], part.min(axis=0)), np.maximum(high[has], part.max(axis=0))
    known = np.isfinite(low)
    return tuple(np.where(known, low, 0.0).tolist()), tuple(np.where(known, high, 0.0).tolist())


def geometry(mixture: MixtureSpec, facts: EncoderFacts, num_memory: int) -> tuple[WindowSpec, PictureSpec]:
    """The shape of a sample in rows, and which pictures the autoencoder needs for it.

    Raises:
        ContractError: When horizon, stride and future frames do not fit each other with this autoencoder.
    """
    apart = mixture.frame_stride * facts.stride[0]
    if mixture.action_horizon != apart * mixture.num_future + 1:
        raise ContractError(
            f"action_horizon is {mixture.action_horizon}, but {mixture.num_future} future frames, {apart} rows apart with this "
            f"autoencoder, need {apart * mixture.num_future + 1}"
        )
    window = WindowSpec(action_horizon=mixture.action_horizon, frame_stride=apart, num_future=mixture.num_future, num_memory=num_memory)
    return window, PictureSpec(cameras=mixture.cameras, frame_stride=mixture.frame_stride, num_future=mixture.num_future)


def open_ingredients(
    mixture: MixtureSpec,
    sources: Sequence[AlignedSource],
    pictures: Sequence[PictureSource],
    codecs: Mapping[str, ActionCodec],
    rejections: Sequence[Rejections],
) -> tuple[Ingredient, ...]:
    """Every source of a mixture with all that training needs of it, each argument in the order of the mixture.

    Raises:
        MixtureError: When a selection takes no episode.
    """
    return tuple(
        Ingredient(
            name=name,
            aligned=aligned,
            pictures=seen,
            codec=codecs[aligned.description.embodiment],
            weight=source.weight,
            selected=selected_episodes(source, aligned),
            rejected=rejected.rows,
        )
        for name, source, aligned, seen, rejected in zip(source_names(mixture), mixture.sources, sources, pictures, rejections, strict=True)
    )
