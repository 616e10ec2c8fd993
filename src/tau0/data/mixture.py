"""Several datasets as one corpus, as people write it: a JSON file that names sources, and what the model sees of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import pydantic

from tau0.contract import Camera, Embodiment
from tau0.data.catalogue import EpisodeInfo
from tau0.data.description import SourceDescription
from tau0.data.descriptions import PRESETS, find_description, no_such_choice
from tau0.data.index import Measure, Weighing, streams_of
from tau0.data.info import DatasetError, suggest
from tau0.data.layout import LAYOUTS
from tau0.data.schema import Kind
from tau0.data.windows import WindowSpec

MOST_HZ = 1000.0
"""No robot is commanded faster. Every source is written out at the model's rate: a slip of the pen would fill the disk."""


class MixtureError(DatasetError):
    """A mixture cannot be read or used. The message names the file, the field and what was expected."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which episodes of a dataset are taken. What is not said takes all; what is said must all hold.

    Attributes:
        kinds: Of these kinds.
        episodes: With these numbers, the dataset's own.
        per_task: First and stop: of those that the above leave, the ones at places [first, stop) among all of their task and kind, in the
            order of the dataset. (0, 10) is the first ten of every task.
    """

    kinds: tuple[Kind, ...] | None = None
    episodes: tuple[int, ...] | None = None
    per_task: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.per_task is not None and not 0 <= self.per_task[0] < self.per_task[1]:
            raise ValueError(f"per_task is first and stop, 0 <= first < stop, got {list(self.per_task)}")
        for name in ("kinds", "episodes"):
            if getattr(self, name) == ():
                raise ValueError(f"{name} lists none, which selects nothing; leave it out to take all")

    def numbers(self, episodes: Sequence[EpisodeInfo], where: str) -> frozenset[int]:
        """Numbers of the episodes that are taken, out of all of a dataset's, called `where` in errors.

        Raises:
            MixtureError: When an episode is asked for that is not there, or nothing is left.
        """
        if self.episodes is not None and (missing := sorted(set(self.episodes) - {episode.index for episode in episodes})):
            known = f"numbers run from {episodes[0].index} to {episodes[-1].index}" if episodes else "it has none"
            raise MixtureError(f"{where} has no episode {', '.join(map(str, missing[:5]))}{', ..' * (len(missing) > 5)}: {known}")
        before: Counter[tuple[str, str]] = Counter()
        first, stop = self.per_task or (0, len(episodes))
        chosen = set()
        for episode in episodes:
            if self._is_taken(episode):
                stratum = episode.task, episode.kind
                if first <= before[stratum] < stop:
                    chosen.add(episode.index)
                before[stratum] += 1
        if not chosen:
            there = ", ".join(f"{count} {kind}s" for kind, count in Counter(episode.kind for episode in episodes).items())
            asked = {own.name: getattr(self, own.name) for own in fields(self) if getattr(self, own.name) is not None}
            raise MixtureError(f"select {asked} takes none of the {len(episodes)} episodes of {where} ({there})")
        return frozenset(chosen)

    def _is_taken(self, episode: EpisodeInfo) -> bool:
        return (self.kinds is None or episode.kind in self.kinds) and (self.episodes is None or episode.index in self.episodes)


def _in_folder(path: Path, info: pydantic.ValidationInfo) -> Path:
    return Path((info.context or {}).get("folder", ".")) / path


def _description(what: Any, info: pydantic.ValidationInfo) -> SourceDescription:
    """By preset, by file beside the mixture's, or written out."""
    if isinstance(what, str) and what not in PRESETS:
        beside = _in_folder(Path(what), info)
        return find_description(beside if beside.is_file() else what)
    if not isinstance(what, str | dict | SourceDescription):
        raise ValueError("expected the name of a preset, a file, or a description")
    return find_description(what)


@dataclass(frozen=True, kw_only=True)
class MixtureSource:
    """One dataset of a mixture.

    Attributes:
        dataset: Its folder; in a file relative to that file.
        description: What its numbers mean and may supervise; in a file the name of a preset, another file, or the description itself.
        weight: Above 0, times what `MixtureSpec.weigh` gives.
        select: Which episodes.
    """

    dataset: Annotated[Path, pydantic.AfterValidator(_in_folder)]
    description: Annotated[SourceDescription, pydantic.BeforeValidator(_description)]
    weight: float = 1.0
    select: Selection = field(default_factory=Selection)

    def __post_init__(self) -> None:
        if not 0 < self.weight < float("inf"):
            raise ValueError(f"weight must be above 0, got {self.weight}; leave the source out to ignore it")


@dataclass(frozen=True, kw_only=True)
class MixtureSpec:
    """What is trained on, and how the model sees it.

    Attributes:
        layout: Name of the numbers of state and action, one of `LAYOUTS`.
        rate_hz: Rows a second, at most `MOST_HZ`. Sources of any rate are resampled to it by timestamp.
        cameras: Roles in the order of the canvas, such as "head", with their sizes in pixels.
        sources: At least one.
        action_horizon: Steps of an action chunk.
        frame_stride: Rows between two frames.
        num_future: Future frames.
        weigh: What a source's share is proportional to, next to its weight; see `Weighing`.
        temper: For `weigh` "tempered" alone: in [0, 1].
        embodiment: The robot that the checkpoint shall act for, with its names and limits; unless given, the layout's names and the range
            of what was done.
    """

    __pydantic_config__ = pydantic.ConfigDict(extra="forbid")

    layout: str
    rate_hz: float
    cameras: tuple[Camera, ...]
    sources: tuple[MixtureSource, ...]
    action_horizon: int = 17
    frame_stride: int = 8
    num_future: int = 2
    weigh: Measure = "hours"
    temper: float | None = None
    embodiment: Embodiment | None = None

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise ValueError(f"unknown layout {self.layout!r}{suggest(self.layout, LAYOUTS)}; there are {', '.join(LAYOUTS)}")
        if not 0 < self.rate_hz <= MOST_HZ:
            raise ValueError(f"rate_hz must be above 0 and at most {MOST_HZ:g}, got {self.rate_hz}")
        if (self.temper is not None) != (self.weigh == "tempered"):
            needs = "needs a temper in [0, 1]" if self.temper is None else f"does not know temper {self.temper}"
            raise ValueError(f"weigh {self.weigh!r} {needs}; only 'tempered' has one")
        self.window(0)
        self.weighing()
        self._check_cameras()
        self._check_embodiment()
        self._check_sources()

    @property
    def roles(self) -> tuple[str, ...]:
        """Of the cameras."""
        return tuple(camera.name for camera in self.cameras)

    def window(self, num_memory: int) -> WindowSpec:
        """The shape of a sample, with as many past frames as the model remembers."""
        return WindowSpec(
            action_horizon=self.action_horizon, frame_stride=self.frame_stride, num_future=self.num_future, num_memory=num_memory
        )

    def weighing(self) -> Weighing:
        """Of the sources."""
        return Weighing(by=self.weigh) if self.temper is None else Weighing(by=self.weigh, temper=self.temper)

    def _check_cameras(self) -> None:
        for camera in self.cameras:
            if camera.height < 1 or camera.width < 1:
                raise ValueError(f"camera {camera.name!r} is {camera.height} x {camera.width} pixels")
        if not self.cameras or len(set(self.roles)) < len(self.roles):
            raise ValueError(f"cameras need different names, at least one, got {', '.join(self.roles) or 'none'}")

    def _check_embodiment(self) -> None:
        if self.embodiment is None:
            return
        ours = {"cameras": "cameras", "control_hz": "rate_hz", "action_horizon": "action_horizon", "frame_stride": "frame_stride"}
        for field_of_robot, own in ours.items():
            theirs, mine = getattr(self.embodiment, field_of_robot), getattr(self, own)
            if theirs != mine:
                raise ValueError(f"embodiment.{field_of_robot} is {theirs}, the mixture's {own} is {mine}; they must be equal")
        for name, count in (("state_names", len(self.embodiment.state_names)), ("action.names", self.embodiment.action.dim)):
            if count > LAYOUTS[self.layout].dim:
                raise ValueError(f"embodiment.{name} has {count} names, the layout {self.layout!r} has {LAYOUTS[self.layout].dim} numbers")

    def _check_sources(self) -> None:
        if not self.sources:
            raise ValueError("sources lists no dataset")
        for number, source in enumerate(self.sources):
            roles = source.description.cameras
            if not set(self.roles) & set(roles):
                hint = suggest(self.roles[0], dict(roles))
                known = ", ".join(roles) or "none"
                raise ValueError(
                    f"source {number} ({source.dataset}) has no camera for {', '.join(self.roles)}{hint}; its description names {known}"
                )
            if lack := _unlearnt(source.description):
                raise ValueError(f"source {number} ({source.dataset}): {lack}")
            if source in self.sources[:number]:
                raise ValueError(f"source {number} ({source.dataset}) is there twice: give one a greater weight instead")


def _unlearnt(description: SourceDescription) -> str:
    """Why no batch would ever hold what a source shall supervise; "" where all of it is learnt."""
    if "progress" in description.supervises and "dynamics" not in description.supervises:
        return f"{description.name!r} supervises progress without dynamics, but progress is learnt by the simulator, under executed actions"
    if not streams_of(description):
        return f"{description.name!r} is {description.kind} without dynamics, of which neither policy nor simulator learns anything"
    return ""


def read_mixture(path: str | Path) -> MixtureSpec:
    """The mixture that a JSON file describes. Paths in it are relative to the file.

    Raises:
        MixtureError: When the file is missing or not JSON, or a field is missing, unknown, or not what it should be. All are named.
    """
    path = Path(path)
    if not path.is_file():
        raise MixtureError(f"{path} is not a file: expected a mixture in JSON")
    try:
        return _adapter().validate_json(path.read_bytes(), context={"folder": path.parent})
    except pydantic.ValidationError as error:
        problems = error.errors(include_url=False)
        if {("layout",), ("sources",)} <= {problem["loc"] for problem in problems if problem["type"] == "missing"}:
            raise MixtureError(f"{path} is no mixture: it has neither a layout nor sources") from error
        raise MixtureError(f"{path}: {'; '.join(map(_said, problems))}") from error


def mixture_to_json(mixture: MixtureSpec) -> str:
    """The mixture as a file may hold it, descriptions written out: the inverse of `read_mixture` where paths are absolute."""
    return json.dumps(_adapter().dump_python(mixture, mode="json", exclude_none=True), indent=2) + "\n"


@cache
def _adapter() -> pydantic.TypeAdapter[MixtureSpec]:
    return pydantic.TypeAdapter(MixtureSpec)


_FIELDS = dict.fromkeys(own.name for owner in (MixtureSpec, MixtureSource, Selection, Camera) for own in fields(owner))


def _said(problem: Any) -> str:
    """One thing that is wrong, in words."""
    place, given = ".".join(map(str, problem["loc"])), f"{problem['input']!r:.60}"
    if problem["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        return f"unknown field {place!r}{suggest(str(problem['loc'][-1]), _FIELDS)}"
    if problem["type"] == "missing":
        return f"field {place!r} is missing"
    if problem["type"] == "value_error":
        return (f"{place}: " if place else "") + problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "literal_error":
        return no_such_choice(place, problem)
    return f"{place or 'the file'}: {problem['msg']}, got {given}"
