"""Checks of states and actions over all episodes: constant numbers, wrong units, outliers, angles that wrap."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tau0.data.doctor.survey import EpisodeView, Numbers, RowSample, is_wrap
from tau0.data.episodes import Dataset
from tau0.data.findings import Finding
from tau0.data.row_checks import listed, place
from tau0.data.schema import ACTION, STATE

CONSTANT = 1e-6
FAR_OUT = 12.0
"""Robust standard deviations from the median beyond which a number is called an outlier."""
FARTHEST_M = 10.0
"""No arm reaches as far: a position whose typical size is above this is not in metres."""
LARGEST_ANGLE = 4 * np.pi
"""An angle whose typical size is above this is not in radians."""
UNIT_RATIO = (300.0, 3000.0)
"""Where the spread of an action lies in this ratio to that of the same state, one is in thousandths of the other's unit."""

_POSITION = re.compile(r"(^|[._\s/-])(x|y|z|pos(ition)?_?[xyz]?|[xyz]_?(pos(ition)?|m))$", re.IGNORECASE)
_ANGLE = re.compile(r"(^|[._\s/-])(roll|pitch|yaw|r[xyz]|euler.*)$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """One number of the state or the action, over all episodes.

    Attributes:
        feature: Such as "observation.state".
        index: Its place within the feature.
        name: As the dataset calls it, or its place.
        low: Smallest.
        high: Largest.
        quantiles: At 1, 5, 25, 50, 75, 95 and 99 percent.
        std: Standard deviation.
    """

    feature: str
    index: int
    name: str
    low: float
    high: float
    quantiles: tuple[float, ...]
    std: float

    @property
    def is_constant(self) -> bool:
        """Whether it says nothing."""
        return self.high - self.low < CONSTANT

    @property
    def median(self) -> float:
        """The middle."""
        return self.quantiles[3]

    @property
    def scale(self) -> float:
        """A standard deviation that outliers do not move: the largest of what three ranges of quantiles would give for a normal."""
        q = self.quantiles
        return max((q[4] - q[2]) / 1.349, (q[5] - q[1]) / 3.290, (q[6] - q[0]) / 4.653)


def dimensions(dataset: Dataset, sample: RowSample) -> tuple[Dimension, ...]:
    """Every number of a feature, summarised."""
    rows, span = sample.rows(), sample.range()
    if rows is None or span is None:
        return ()
    names = dataset.features[sample.feature].names
    quantiles = np.quantile(rows, [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99], axis=0)
    return tuple(
        Dimension(
            feature=sample.feature,
            index=i,
            name=names[i] if len(names) == rows.shape[1] else str(i),
            low=float(span[0][i]),
            high=float(span[1][i]),
            quantiles=tuple(quantiles[:, i].tolist()),
            std=float(rows[:, i].std()),
        )
        for i in range(rows.shape[1])
    )


def check_numbers(dims: Sequence[Dimension]) -> list[Finding]:
    """Everything that can be said of the numbers without going through the rows again."""
    return [*_constant(dims), *_angles(dims), *_thousandths(dims)]


def check_episode_units(dataset: Dataset, view: EpisodeView) -> list[Finding]:
    """Millimetres, by the typical size of what is called a position; episode by episode, since one recorder of several may be set wrong."""
    found = []
    for feature in (STATE, ACTION):
        numbers = view.numbers(feature)
        named = [i for i, name in enumerate(dataset.features[feature].names) if _POSITION.search(name)] if numbers is not None else []
        if numbers is None or not named or numbers.shape[1] <= max(named):
            continue
        sizes = np.quantile(np.abs(numbers[:, named]), 0.9, axis=0)
        if sizes.max() <= FARTHEST_M:
            continue
        far = ", ".join(
            f"{dataset.features[feature].names[i]} {size:.4g}" for i, size in zip(named, sizes, strict=True) if size > FARTHEST_M
        )
        found.append(
            Finding(
                severity="error",
                check="units",
                where=f"{feature}, {place(view.episode, dataset.info)}",
                what=f"positions are farther away than any arm reaches in metres: {far}",
                advice=f"the {feature} looks like millimetres: divide by 1000, or say so in the source's description",
                episode=view.episode.index,
            )
        )
    return found


class OutlierCounter:
    """A second walk over the rows, against what is usual: far-off numbers, and angles that jump by a whole turn."""

    def __init__(self, dims: Sequence[Dimension]) -> None:
        self._of = {feature: [dim for dim in dims if dim.feature == feature] for feature in (STATE, ACTION)}
        self._rows: dict[tuple[str, int], list[tuple[int, int, float]]] = {}
        self._wraps: dict[tuple[str, int], set[int]] = {}

    def add(self, view: EpisodeView) -> None:
        """Takes in an episode."""
        for feature, dims in self._of.items():
            numbers = view.numbers(feature)
            if numbers is None or not dims:
                continue
            self._add_far(view, numbers, dims)
            for i in np.flatnonzero(is_wrap(np.diff(numbers, axis=0)).any(0)):
                if _spans_a_turn(dims[i]):
                    self._wraps.setdefault((feature, int(i)), set()).add(view.episode.index)

    def findings(self) -> list[Finding]:
        """A warning for each number with outliers, a note for each that wraps."""
        return [*self._far(), *self._turned()]

    def _add_far(self, view: EpisodeView, numbers: Numbers, dims: Sequence[Dimension]) -> None:
        scale = np.array([dim.scale if dim.scale > CONSTANT else np.inf for dim in dims])
        far = np.abs(numbers - np.array([dim.median for dim in dims])) / scale
        for row, i in np.argwhere(far > FAR_OUT).tolist():
            self._rows.setdefault((dims[0].feature, i), []).append((view.episode.index, row, float(far[row, i])))

    def _far(self) -> list[Finding]:
        found = []
        for (feature, i), rows in self._rows.items():
            dim = self._of[feature][i]
            episode, row, worst = max(rows, key=lambda entry: entry[2])
            found.append(
                Finding(
                    severity="warning",
                    check="outliers",
                    where=f"{feature} {dim.name}",
                    what=f"{len(rows)} rows lie more than {FAR_OUT:g} robust standard deviations from {dim.median:.4g}; the farthest, "
                    f"{worst:.0f}, in episode {episode}, row {row}; episodes {listed(sorted({entry[0] for entry in rows}))}",
                    advice="look at them: a sensor's glitch spoils statistics; leave such rows out",
                )
            )
        return found

    def _turned(self) -> list[Finding]:
        return [
            Finding(
                severity="note",
                check="angles",
                where=f"{feature} {self._of[feature][i].name}",
                what=f"passes pi and jumps by a whole turn in episodes {listed(sorted(episodes), 12)}",
                advice="no fault; differences must go through rotations, as they do for a column declared as an angle",
            )
            for (feature, i), episodes in self._wraps.items()
        ]


def _constant(dims: Sequence[Dimension]) -> list[Finding]:
    found = []
    for feature in (STATE, ACTION):
        still = [dim for dim in dims if dim.feature == feature and dim.is_constant]
        if still:
            what = (
                f"{len(still)} of {sum(dim.feature == feature for dim in dims)} numbers never change: {listed([d.name for d in still], 12)}"
            )
            advice = "they carry nothing and cannot be normalised: leave them out of the source's description"
            found.append(Finding(severity="warning", check="constant numbers", where=feature, what=what, advice=advice))
    return found


def _angles(dims: Sequence[Dimension]) -> list[Finding]:
    far = [dim for dim in dims if _ANGLE.search(dim.name) and _typical(dim) > LARGEST_ANGLE]
    return [
        Finding(
            severity="warning",
            check="units",
            where=f"{dim.feature} {dim.name}",
            what=f"an angle between {dim.quantiles[1]:.4g} and {dim.quantiles[5]:.4g}",
            advice="this looks like degrees: say so in the source's description",
        )
        for dim in far
    ]


def _thousandths(dims: Sequence[Dimension]) -> list[Finding]:
    """State and action of the same name in different units."""
    states = {dim.name: dim for dim in dims if dim.feature == STATE and not dim.is_constant}
    pairs = [(states[dim.name], dim) for dim in dims if dim.feature == ACTION and dim.name in states and not dim.is_constant]
    off = [(s, a) for s, a in pairs if _is_thousand(a.scale, s.scale) and _is_thousand(_typical(a), _typical(s))]
    if not off:
        return []
    names = listed([action.name for _, action in off], 12)
    ratio = np.median([action.scale / state.scale for state, action in off])
    return [
        Finding(
            severity="error",
            check="units",
            where=f"{ACTION} against {STATE}",
            what=f"{len(off)} numbers of one name differ by a factor of about {ratio if ratio > 1 else 1 / ratio:.0f}: {names}",
            advice="one of the two is in thousandths (millimetres for metres): bring them to one unit",
        )
    ]


def _spans_a_turn(dim: Dimension) -> bool:
    return all(abs(abs(end) - np.pi) < 0.02 * np.pi for end in (dim.low, dim.high))


def _is_thousand(one: float, other: float) -> bool:
    low, high = UNIT_RATIO
    return min(one, other) > 0 and low < max(one, other) / min(one, other) < high


def _typical(dim: Dimension) -> float:
    return max(abs(dim.quantiles[1]), abs(dim.quantiles[5]))


def thinned(numbers: NDArray[np.floating], points: int) -> NDArray[np.floating]:
    """At most `points` rows, evenly spread, the first and the last among them."""
    chosen = np.unique(np.linspace(0, len(numbers) - 1, min(len(numbers), points)).round().astype(int))
    return numbers[chosen]
