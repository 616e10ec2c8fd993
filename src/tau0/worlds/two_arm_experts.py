"""Scripted experts for two arms. Each is a function of the physical state alone, so it knows what to do from anywhere."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tau0.worlds.protocol import Misbelief
from tau0.worlds.two_arm_hands import Hand, HandTarget
from tau0.worlds.two_arm_scene import Array, Scene

OPEN, SHUT = 0.0, 1.0
_UP = np.array([0.0, 0.0, 1.0])

_HOVER_M = 0.10
_ALIGNED_RAD = 0.12

LIFT_HEIGHT_M = 0.17
"""How far above the table the pot's bottom is brought; 10 cm is a success."""

_LEVELLING = 1.5
_LIFT_LEAD_M = 0.05

MEETING_PLACE = np.array([-0.14, -0.02, 1.12])
"""Where the hammer's handle is when it changes hands, with its end towards the left arm."""

_GRASPS_APART_M = 0.065
_TAIL_DIRECTION_RAD = np.pi / 2

Expert = Callable[[Scene, Misbelief], tuple[HandTarget, HandTarget]]
"""(physics, what is wrongly believed) -> where the left and the right hand should go next."""


def make_expert(scene: Scene) -> Expert:
    """The expert of the scene's task."""
    if scene.task == "two-arm-lift":
        pot = scene.env.pot
        left, right = scene.geometries(pot.handle1_geoms), scene.geometries(pot.handle0_geoms)
        return lambda scene, belief: _lift(scene, left, right, belief)
    hammer = scene.env.hammer
    everything, handle = scene.geometries(hammer.contact_geoms), scene.geometries(hammer.handle_geoms)
    return lambda scene, belief: _hand_over(scene, everything, handle, belief)


def _lift(scene: Scene, left_handle: frozenset[int], right_handle: frozenset[int], belief: Misbelief) -> tuple[HandTarget, HandTarget]:
    """Both hands come down on the handles and close; once both hold, they rise together and keep the pot level.

    A lift has no goal to be wrong about: where one is believed to be elsewhere, it is the left hand that goes there.
    """
    sites = scene.env.pot.important_sites
    left, right = Hand.of(scene, scene.left, left_handle), Hand.of(scene, scene.right, right_handle)
    left_place, right_place = (scene.data.site(sites[name]).xpos for name in ("handle1", "handle0"))
    if left.holds and right.holds:
        mean_height = float(left_place[2] + right_place[2]) / 2
        return _raise_pot(scene, left, mean_height - left_place[2]), _raise_pot(scene, right, mean_height - right_place[2])
    along = left_place - right_place
    across = float(np.arctan2(along[1], along[0]))
    return grasp(left, left_place + belief.objects + belief.goal, across), grasp(right, right_place + belief.objects, across)


def _raise_pot(scene: Scene, hand: Hand, below_the_other: float) -> HandTarget:
    """Up, until the pot is high enough; the side that is lower goes faster."""
    pot, table = scene.data.body(scene.env.pot.root_body), float(scene.data.site("table_top").xpos[2])
    wanted = table + LIFT_HEIGHT_M - float(scene.env.pot.bottom_offset[2])
    rise = np.clip(wanted - pot.xpos[2], -_LIFT_LEAD_M, _LIFT_LEAD_M) + _LEVELLING * below_the_other
    return hand.towards(hand.position + rise * _UP, hand.turn, SHUT)


def grasp(hand: Hand, place: Array, across: float) -> HandTarget:
    """Comes down on `place` from above with the fingers on both sides along the direction `across`, then closes them.

    A hand that is low and off to a side rises first; one that is closed opens first.
    """
    turn = hand.nearest_turn(across, place)
    off, height = hand.level_distance(place), float(hand.position[2] - place[2])
    is_turned = abs(turn - hand.turn) < _ALIGNED_RAD
    if off < 0.012 and abs(height) < 0.012 and is_turned:
        return hand.towards(place, turn, SHUT)
    can_descend = is_turned and off < 0.012 + 0.1 * max(0.0, height)
    if can_descend:
        return hand.towards(place, turn, OPEN)
    hover = place + _HOVER_M * _UP
    if height < 0.6 * _HOVER_M and off < 0.25:
        return hand.towards(np.array([*hand.position[:2], hover[2]]), hand.turn, OPEN)
    return hand.towards(hover, turn, OPEN)


def _hand_over(scene: Scene, hammer: frozenset[int], handle: frozenset[int], belief: Misbelief) -> tuple[HandTarget, HandTarget]:
    """The right hand brings the hammer to the meeting place, the left hand takes it by the end of its handle, the right hand lets go."""
    left, right = Hand.of(scene, scene.left, handle), Hand.of(scene, scene.right, hammer)
    body = scene.data.body(scene.env.hammer.root_body)
    centre, tail = body.xpos + belief.objects, -body.xmat.reshape(3, 3)[:, 2]
    meeting = MEETING_PLACE + belief.goal
    direction = float(np.arctan2(tail[1], tail[0]))
    head_side, tail_side = centre - _GRASPS_APART_M * tail, centre + _GRASPS_APART_M * tail
    waiting = _left_waits(left, meeting)
    if left.holds:
        return left.towards(left.position, left.turn, SHUT), _lets_go(right, centre)
    if not right.holds:
        return waiting, _pick(right, head_side, direction, meeting)
    carried = _carry(right, centre, direction, meeting)
    if not _has_arrived(centre, direction, meeting):
        return waiting, carried
    return grasp(left, tail_side, direction + np.pi / 2), carried


def _left_waits(left: Hand, meeting: Array) -> HandTarget:
    """Open, above where the end of the handle will be."""
    place = meeting + np.array([0.0, _GRASPS_APART_M + 0.14, 0.12])
    return left.towards(place, left.nearest_turn(_TAIL_DIRECTION_RAD + np.pi / 2, place), OPEN)


def _pick(right: Hand, place: Array, direction: float, meeting: Array) -> HandTarget:
    """Grasps the handle near the head, with the fingers on those sides from which the wrist can turn the hammer to the meeting."""
    across = direction + np.pi / 2
    first = across - np.pi * round((across - right.turn) / np.pi)

    def strain(turn: float) -> float:
        ways = [turn + _TAIL_DIRECTION_RAD - direction + 2 * np.pi * k for k in (-2, -1, 0, 1, 2)]
        return right.strain(turn, place) + min(right.strain(way, meeting) for way in ways)

    turn = min([first + np.pi * k for k in (-2, -1, 0, 1, 2)], key=strain)
    return grasp(right, place, turn)


def _carry(right: Hand, centre: Array, direction: float, meeting: Array) -> HandTarget:
    """Up first, then to the meeting place, turning the hammer's end towards the left arm."""
    turn = right.way_round(right.turn + _TAIL_DIRECTION_RAD - direction, meeting)
    offset = meeting - centre
    if centre[2] < meeting[2] - 0.12:
        return right.towards(right.position + np.array([0.0, 0.0, offset[2]]), right.turn, SHUT)
    return right.towards(right.position + offset, turn, SHUT)


def _has_arrived(centre: Array, direction: float, meeting: Array) -> bool:
    return bool(np.linalg.norm(centre - meeting) < 0.03) and abs(np.sin((direction - _TAIL_DIRECTION_RAD) / 2)) < 0.08


def _lets_go(right: Hand, centre: Array) -> HandTarget:
    """Opens; once open, rises and retreats."""
    if right.closed > 0.35:
        return right.stays(OPEN)
    is_near = np.linalg.norm(right.position - centre) < 0.3
    return right.towards(right.position + (np.array([-0.02, -0.06, 0.06]) if is_near else 0.0), right.turn, OPEN)
