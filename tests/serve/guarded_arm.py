"""An arm with a number of every kind, and limits for it."""

from __future__ import annotations

import numpy as np

from tau0.contract import ActionSpec, Camera, Embodiment
from tau0.limits import Meaning, SafetyLimits

HZ = 20.0
NAMES = ("x", "y", "joint", "grip", *(f"r{i}" for i in range(6)))
ROBOT = Embodiment(
    name="six-number arm",
    cameras=(Camera(name="front", height=4, width=4),),
    state_names=NAMES,
    action=ActionSpec(names=NAMES, low=(-1.0, -2.0, -3.0, 0.0, *(-1.0,) * 6), high=(1.0, 2.0, 3.0, 1.0, *(1.0,) * 6), gripper=(3,)),
    control_hz=HZ,
    action_horizon=9,
    frame_stride=4,
)
NONE = (None,) * 6
POSITIONS: tuple[Meaning, ...] = ("position",) * 6
LIMITS = SafetyLimits(
    meaning=("step", "position", "position", "effort", *POSITIONS),
    step_size=(0.02, *(1.0,) * 9),
    low=(-0.3, -0.5, None, None, *NONE),
    high=(0.3, 0.4, None, None, *NONE),
    speed=(0.3, 1.0, 2.0, 4.0, *NONE),
    acceleration=(2.0, 5.0, None, None, *NONE),
    rotations=(4,),
    turn_speed=2.0,
    turn_acceleration=20.0,
    max_age_s=0.5,
    watchdog_s=0.3,
)
HOME = np.array([0.0, 0.0, 0.0, 0.5, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0])
