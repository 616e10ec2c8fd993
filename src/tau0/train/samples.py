"""Samples of one source: its rows, seen through its description, as a batch with masks and weights."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from tau0.actions import ActionCodec, Normaliser
from tau0.data.aligned import AlignedSource
from tau0.data.catalogue import EpisodeInfo
from tau0.data.description import SIGNALS, Signal
from tau0.data.parts import presence
from tau0.data.split import Split, split_episodes
from tau0.data.windows import Rows, WindowRows, Windows, WindowSpec
from tau0.model.text import TextEncoder
from tau0.tensors import Batch
from tau0.train.pictures import PictureSource, WindowLatents, window_latents


@dataclass(frozen=True, kw_only=True)
class Ingredient:
    """One source of a mixture, ready to be trained on.

    Attributes:
        name: For people; no two of a mixture have the same.
        aligned: Its rows.
        pictures: Its latents.
        codec: Of its robot.
        weight: Of its samples among those of others.
        selected: Numbers of the episodes that are used; None for all.
        rejected: Rows that no sample may begin at, ascending.
    """

    name: str
    aligned: AlignedSource
    pictures: PictureSource
    codec: ActionCodec
    weight: float = 1.0
    selected: frozenset[int] | None = None
    rejected: Rows = field(default_factory=lambda: np.zeros(0, np.int64))

    def episodes(self, split: Split) -> tuple[EpisodeInfo, ...]:
        """Those of a split that are selected and can be seen, with their past."""
        unseen = set(self.pictures.unreadable)
        chosen = [e for e in self.aligned.episodes if self.selected is None or e.index in self.selected]
        return split_episodes([e for e in chosen if not {e.index, e.parent} & unseen])[split]


class SourceSamples:
    """Resolves samples of one source.

    Attributes:
        ingredient: The source.
        windows: Which rows make up a sample.
    """

    def __init__(self, ingredient: Ingredient, window: WindowSpec, text: TextEncoder, policy_dim: int | None = None) -> None:
        """Reads nothing yet.

        Args:
            ingredient: The source.
            window: The shape of a sample.
            text: Of its instructions.
            policy_dim: How many of the layout's numbers the policy has, the first ones; all unless given.
        """
        aligned = ingredient.aligned
        self.ingredient = ingredient
        self.windows = Windows(aligned.episodes, window)
        self._text, self._policy_dim = text, aligned.layout.dim if policy_dim is None else policy_dim
        self._weights = torch.tensor([aligned.description.supervises.get(signal, 0.0) for signal in SIGNALS])
        self._has_state, self._has_action = torch.from_numpy(aligned.state_mask), torch.from_numpy(aligned.action_mask)
        advised = aligned.description.advice or aligned.description.action
        self._has_advice = torch.from_numpy(presence(advised, aligned.layout))

    def gather(self, rows: Rows, epoch: int = 0) -> Batch:
        """The samples whose current frames are these rows of the source. Another `epoch` changes pictures otherwise, where they change.

        A sample whose pictures turn out to be unreadable supervises nothing.
        """
        aligned, codec, at = self.ingredient.aligned, self.ingredient.codec, self.windows.resolve(rows)
        state = _rows(aligned.state, rows)
        shown = window_latents(self.ingredient.pictures, at, epoch)
        views, future = _seen(shown, at)
        has_pictures = views.any(dim=1)
        target = encode_present(codec, _rows(aligned.advice, at.actions), state, self._has_advice)
        executed = encode_present(codec, _rows(aligned.action, at.actions), state, self._has_action)
        steps = {signal: rearrange(self._may(signal) & has_pictures, "b -> b 1") for signal in SIGNALS}
        imitated = rearrange(torch.from_numpy(at.action_mask) & steps["action"], "b ha -> b ha 1")
        labelled = torch.from_numpy(at.progress_mask & aligned.progress_mask[at.actions])
        own = slice(self._policy_dim)
        return Batch(
            latents=shown.latents.float(),
            text=self._text.encode([aligned.texts[i] for i in aligned.text[rows]]),
            state=normalise_present(codec, state, self._has_state)[:, own],
            target_actions=target[:, :, own],
            executed_actions=executed,
            progress=_rows(aligned.progress, at.actions),
            view_mask=views | rearrange(~has_pictures, "b -> b 1"),
            video_mask=future & steps["video"],
            state_mask=self._has_state.expand(len(rows), -1)[:, own],
            action_mask=(imitated & self._has_advice)[:, :, own],
            executed_mask=self._has_action & steps["dynamics"],
            progress_mask=labelled & steps["progress"],
            weights=self._weights.expand(len(rows), -1),
        )

    @property
    def is_complete(self) -> bool:
        """Whether its actions may be imitated by a robot that has all the cameras of the model."""
        described, seen = self.ingredient.aligned.description, self.ingredient.pictures.cameras
        return "action" in described.supervises and {camera.name for camera in seen} <= set(described.cameras)

    @property
    def policy_codec(self) -> ActionCodec:
        """Of the numbers that the policy has."""
        return first_numbers(self.ingredient.codec, self._policy_dim)

    def state(self, row: int) -> Float[Tensor, " ds"]:
        """In robot units, as the policy's robot has it."""
        return _rows(self.ingredient.aligned.state, np.array([row]))[0, : self._policy_dim]

    def describe(self, row: int) -> str:
        """One sample by the numbers under which a person finds it in the recording."""
        aligned = self.ingredient.aligned
        episode = aligned.episodes[int(self.windows.episode_of(np.array([row]))[0])]
        return f"episode {episode.index}, frame {aligned.frames[row]}"

    def _may(self, signal: Signal) -> Bool[Tensor, ""]:
        return torch.tensor(signal in self.ingredient.aligned.description.supervises)


def first_numbers(codec: ActionCodec, dim: int) -> ActionCodec:
    """The same for the first numbers alone."""
    action, state = (Normaliser(mean=n.mean[:dim], std=n.std[:dim]) for n in (codec.action, codec.state))
    poses, grippers = (tuple(i for i in indices if i < dim) for indices in (codec.poses, codec.grippers))
    return ActionCodec(action=action, state=state, reference=codec.reference, poses=poses, grippers=grippers)


def normalise_present(codec: ActionCodec, state: Float[Tensor, "b ds"], present: Bool[Tensor, " ds"]) -> Float[Tensor, "b ds"]:
    """Normalised states, 0 where a robot has no such number. Raises `ActionError` as `ActionCodec.encode_state`."""
    return codec.encode_state(torch.where(present, state, state.new_tensor(codec.state.mean))) * present


def encode_present(
    codec: ActionCodec, actions: Float[Tensor, "b ha da"], state: Float[Tensor, "b ds"], present: Bool[Tensor, " da"]
) -> Float[Tensor, "b ha da"]:
    """Measured and normalised chunks, 0 where a robot has no such number. Raises `ActionError` as `ActionCodec.encode`."""
    return codec.action.normalise(measure_present(codec, actions, state, present)) * present


def measure_present(codec: ActionCodec, actions: Tensor, state: Tensor, present: Bool[Tensor, " da"]) -> Tensor:
    """Measured chunks, with the mean in the place of what a robot does not have."""
    if not bool(present.any()):
        return actions.new_tensor(codec.action.mean).expand_as(actions)
    measured = codec.measure(actions, state)
    return torch.where(present, measured, measured.new_tensor(codec.action.mean))


def _seen(shown: WindowLatents, at: WindowRows) -> tuple[Bool[Tensor, "b v"], Bool[Tensor, "b f"]]:
    """The views whose past and present exist, and the future frames that exist in all of these."""
    num_future = at.video_mask.shape[1]
    clean = shown.present[:, :, : shown.present.shape[2] - num_future]
    views = clean.all(dim=2)
    future = (shown.present[:, :, clean.shape[2] :] | rearrange(~views, "b v -> b v 1")).all(dim=1)
    return views, future & torch.from_numpy(at.video_mask)


def _rows(column: NDArray[np.float32], rows: Rows) -> Tensor:
    """Some rows of an array on disk."""
    return torch.from_numpy(np.ascontiguousarray(column[rows]))
