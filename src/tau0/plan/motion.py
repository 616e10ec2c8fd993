"""How much a chunk moves the robot: what a guard against standing still must know."""

from __future__ import annotations

from einops import repeat
from jaxtyping import Float
from torch import Tensor

from tau0.checkpoint import CheckpointConfig
from tau0.encode import robot_actions


def chunk_motion(
    config: CheckpointConfig, actions: Float[Tensor, "n ha da"], state: Float[Tensor, " ds"], steps: int
) -> Float[Tensor, " n"]:
    """Root mean square distance from staying where the robot is, over the first `steps` actions, in deviations, grippers left out.

    A number that is named like the state's, or that is measured from the state, is where the robot shall be: standing still repeats the
    state. Any other is a step or a velocity: standing still is zero.

    Args:
        config: Says what an action is.
        actions: Normalised.
        state: In robot units.
        steps: How many of the actions would be executed.
    """
    executed, codec, embodiment = robot_actions(config, actions, state)[:, :steps], config.codec, config.embodiment
    own = state.expand(len(executed), -1)
    names = zip(embodiment.action.names, embodiment.state_names, strict=True)
    is_measured = [codec.reference != "absolute" and i not in codec.grippers for i in range(executed.shape[2])]
    is_target = executed.new_tensor([mine == states or measured for (mine, states), measured in zip(names, is_measured, strict=True)])
    rest = repeat(own * is_target, "n d -> n ha d", ha=executed.shape[1])
    arms = [i for i in range(executed.shape[2]) if i not in embodiment.action.gripper]
    away = (codec.measure(executed, own) - codec.measure(rest, own)) / (executed.new_tensor(codec.action.std) + 1e-6)
    return away[..., arms].square().mean(dim=(1, 2)).sqrt() if arms else away.new_ones(len(away))
