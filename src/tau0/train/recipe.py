"""Everything that decides what comes out of a run, and how a preset is fitted to what is trained on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from tau0.contract import ContractError, Embodiment
from tau0.data.aligned import AlignedSource
from tau0.data.index import streams_of
from tau0.data.mixture import MixtureSpec, mixture_to_json
from tau0.model.config import SamplingConfig, WorldModelConfig
from tau0.model.encoders import AnyAutoencoderConfig
from tau0.train.config import TrainConfig
from tau0.train.ingredients import mixture_embodiment, source_layout
from tau0.train.picture_plan import PicturePlan
from tau0.train.recipe_file import recipe_fingerprint


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What is trained, and how.

    Attributes:
        name: Of the preset, for people.
        model: Its shape.
        autoencoder: Our own, to be trained before the model; or a published one.
        train: How.
        embodiment: The robot; None to take it from the mixture, together with the numbers of steps and frames.
        text: Identity of the text encoder; None for the sentence encoder that is installed.
        sampling: Numbers of steps and frames.
        pictures: Where they come from, and how they are changed.
    """

    name: str
    model: WorldModelConfig
    autoencoder: AnyAutoencoderConfig
    train: TrainConfig
    embodiment: Embodiment | None = None
    text: str | None = None
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    pictures: PicturePlan = field(default_factory=PicturePlan)

    @property
    def policy_dim(self) -> int | None:
        """Numbers that the policy has, where it has fewer than the simulator is told; else None."""
        action, conditioning = self.model.action, self.model.conditioning
        return None if action is None or conditioning is None or action.dim == conditioning.action_dim else action.dim

    def described(self, mixture: MixtureSpec, sources: Sequence[AlignedSource]) -> dict[str, Any]:
        """As JSON all that would make resuming wrong if it changed; not how long, how often, with how many workers, or read from where."""
        free: dict[str, Any] = {"minutes": 0.0, "max_steps": None, "checkpoint_minutes": 0.0, "workers": 0, "on_non_finite": "stop"}
        free |= {"evaluate_minutes": 0.0, "evaluate_episodes": 0}
        fixed = asdict(replace(self, train=replace(self.train, **free)))
        del fixed["pictures"]
        changed = self.pictures.described()
        trained_on = json.loads(mixture_to_json(mixture))
        for told, source in zip(trained_on["sources"], sources, strict=True):
            told["dataset"] = source.num_rows
        return {"recipe": fixed, "mixture": trained_on} | ({"pictures": changed} if changed else {})

    def fingerprint(self, mixture: MixtureSpec, sources: Sequence[AlignedSource]) -> str:
        """16 hex digits that change with what is described."""
        return recipe_fingerprint(self.described(mixture, sources))


def fitted(recipe: Recipe, mixture: MixtureSpec, sources: Sequence[AlignedSource]) -> Recipe:
    """The recipe for what is trained on: the robot, the model's numbers, and no samples for a stream that nothing belongs to.

    Raises:
        ContractError: When the preset's numbers or pictures do not fit the mixture's.
    """
    streams = {stream for source in sources for stream in streams_of(source.description)}
    idle = {f"{stream}_batch": 0 for stream in ("policy", "simulator") if stream not in streams}
    recipe = replace(recipe, train=replace(recipe.train, **idle))
    dim, policy_dim = source_layout(sources).dim, recipe.policy_dim
    if recipe.embodiment is not None:
        return replace(recipe, model=_fitted_model(recipe.model, mixture, dim, policy_dim))
    _check_canvas(recipe, mixture)
    conditioning = recipe.model.conditioning
    if policy_dim is not None and conditioning is not None and conditioning.action_dim != dim:
        raise ContractError(
            f"preset {recipe.name} is told {conditioning.action_dim} numbers, of which its policy has {policy_dim}; "
            f"layout {mixture.layout!r} has {dim}"
        )
    sampling = replace(recipe.sampling, num_future=mixture.num_future, execute_steps=min(8, mixture.action_horizon))
    embodiment = mixture_embodiment(mixture, sources, policy_dim)
    return replace(recipe, embodiment=embodiment, sampling=sampling, model=_fitted_model(recipe.model, mixture, dim, policy_dim))


def _fitted_model(model: WorldModelConfig, mixture: MixtureSpec, dim: int, policy_dim: int | None) -> WorldModelConfig:
    action, conditioning = model.action, model.conditioning
    if conditioning is not None:
        group = (mixture.action_horizon - 1) // mixture.num_future
        pairs = -(-conditioning.width // (2 * group))  # every step's share is rotated in pairs
        conditioning = replace(conditioning, action_dim=dim, group=group, width=2 * group * pairs)
    if action is not None:
        action = replace(action, dim=policy_dim or dim)
    return replace(model, action=action, conditioning=conditioning)


def _check_canvas(recipe: Recipe, mixture: MixtureSpec) -> None:
    stride, (_, *patch) = recipe.autoencoder.stride, recipe.model.trunk.patch
    spatial = (stride, stride) if isinstance(stride, int) else stride[1:]
    steps = [own * part for own, part in zip(spatial, patch, strict=True)]
    for camera in mixture.cameras:
        if camera.height % steps[0] or camera.width % steps[1]:
            size = f"{camera.height} x {camera.width}"
            raise ContractError(f"camera {camera.name!r} is {size}, preset {recipe.name} needs multiples of {steps[0]} x {steps[1]}")
