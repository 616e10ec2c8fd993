"""Plausible episodes without a model or a simulator: coloured blobs on a table, seen by two cameras."""

from __future__ import annotations

from typing import Any

import numpy as np

from tau0.contract import ActionChunk, Candidates, Decision, Float, Pixels
from tau0.evaluate.trace import EpisodeTrace

SIZE = 96
HORIZON = 17
EXECUTED = 8
STEPS_PER_FRAME = 4
TASKS = {
    "reach-v3": "move the gripper to the red sphere",
    "push-v3": "slide the puck over to the goal",
    "pick-place-v3": "pick up the puck and hold it at the blue marker",
    "button-press-topdown-v3": "press the button from above",
    "drawer-open-v3": "pull the drawer open by its handle",
}


def fake_trace(
    index: int = 0, *, num_decisions: int = 15, num_candidates: int = 8, mode: str = "full", success: bool = True
) -> EpisodeTrace:
    """An episode whose hand approaches an object and carries it to a goal; what is imagined strays a little from what happens."""
    rng = np.random.default_rng(index)
    task = list(TASKS)[index % len(TASKS)]
    num_steps = num_decisions * EXECUTED
    scene = _Scene(rng, num_steps, success)
    frame_steps = np.arange(0, num_steps + 1, STEPS_PER_FRAME, dtype=np.int64)
    frames = np.stack([scene.views(scene.hand(step), scene.thing(step)) for step in frame_steps.tolist()])
    decisions = tuple(_decision(rng, scene, i * EXECUTED, mode, num_candidates) for i in range(num_decisions))
    return EpisodeTrace(
        task=task,
        instruction=TASKS[task],
        seed=1000 + index,
        mode=mode,
        success=success,
        num_steps=num_steps,
        seconds=float(0.31 * num_decisions + rng.uniform(0, 1)),
        frames=frames,
        frame_steps=frame_steps,
        decisions=decisions,
        cameras=("table", "wrist"),
        action_names=("x", "y", "z", "gripper"),
    )


class _Scene:
    def __init__(self, rng: np.random.Generator, num_steps: int, success: bool) -> None:
        self.num_steps, self.success = num_steps, success
        self.start, self.object, self.goal = rng.uniform(0.1, 0.4, 2), rng.uniform(0.35, 0.65, 2), rng.uniform(0.7, 0.9, 2)

    def hand(self, step: float) -> Float:
        along = np.clip(step / self.num_steps, 0, 1) * 2
        if along < 1:
            return (self.start + (self.object - self.start) * _smooth(along)).astype(np.float32)
        reached = 1.0 if self.success else 0.45
        return (self.object + (self.goal - self.object) * _smooth(along - 1) * reached).astype(np.float32)

    def thing(self, step: float) -> Float:
        return self.hand(step) if step > self.num_steps / 2 else self.object.astype(np.float32)

    def views(self, hand: Float, thing: Float) -> Pixels:
        """Both cameras, uint8 (2, SIZE, SIZE, 3): one sees the table, one rides on the hand."""
        blobs = [(self.goal, 0.07, (70, 110, 230)), (thing, 0.06, (214, 69, 65)), (hand, 0.04, (64, 66, 72))]
        return np.stack([_paint(blobs, shift=np.zeros(2), zoom=1), _paint(blobs, shift=hand - 0.25, zoom=2)])


def _smooth(x: float) -> float:
    return float(x * x * (3 - 2 * x))


def _paint(blobs: list[tuple[Any, float, tuple[int, int, int]]], shift: Any, zoom: float) -> Pixels:
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE / zoom
    grain = np.sin(18 * (x + shift[0])) * np.sin(11 * (y + shift[1]))
    image = np.stack([206 + 8 * grain - 40 * y, 190 + 8 * grain - 40 * y, 168 + 8 * grain - 40 * y], -1)
    for centre, radius, colour in blobs:
        distance = np.hypot(x - (centre[0] - shift[0]), y - (centre[1] - shift[1]))
        cover = np.clip((radius - distance) * SIZE * zoom * 0.7, 0, 1)[..., None]
        light = 1 - 0.5 * np.clip(distance / radius, 0, 1)[..., None] ** 2
        image = image * (1 - cover) + cover * np.asarray(colour) * (0.75 + 0.5 * light)
    return np.clip(image, 0, 255).astype(np.uint8)


def _round(rng: np.random.Generator, scene: _Scene, step: int, count: int, simulated: bool, spread: float) -> Candidates:
    steps = np.arange(HORIZON)
    path = np.stack([scene.hand(step + s) for s in range(HORIZON + 1)])
    drift = rng.normal(0, spread, (count, 2)).astype(np.float32)
    velocity = np.diff(path, axis=0)[None] * 60 + drift[:, None] * np.linspace(0.4, 1.2, HORIZON)[None, :, None] * 3
    lift = 0.4 * np.sin(steps / HORIZON * np.pi + rng.uniform(0, 1, (count, 1))) + rng.normal(0, 0.03, (count, HORIZON))
    grip = np.tanh((steps[None] - rng.uniform(2, 14, (count, 1))) * 0.8)
    actions = np.concatenate([velocity, lift[..., None], grip[..., None]], -1).clip(-1, 1).astype(np.float32)
    off = np.linalg.norm(drift, axis=1)
    scores = (-0.05 - 1.6 * off - rng.exponential(0.012, count)).astype(np.float32)
    if not simulated:
        return Candidates(actions=actions, scores=scores)
    reach = 0.9 * step / scene.num_steps - 0.35 + 0.5 * np.exp(-off * 12)
    shape = np.exp(-(((steps[None] - rng.uniform(8, 17, (count, 1))) / 9) ** 2))
    progress = (reach[:, None] * shape * 1.2 + rng.normal(0, 0.02, (count, HORIZON)) - 0.1).clip(-1, 1).astype(np.float32)
    frames = np.stack([np.stack([_imagined(rng, scene, step + s, drift[i] * s / 8) for s in (8, 16)], 1) for i in range(count)])
    return Candidates(actions=actions, scores=scores, progress=progress, frames=frames)


def _imagined(rng: np.random.Generator, scene: _Scene, step: int, drift: Float) -> Pixels:
    hand = scene.hand(step) + drift
    thing = hand if step > scene.num_steps / 2 else scene.thing(step)
    views = scene.views(hand.astype(np.float32), thing).astype(np.float32)
    blurred = (views + np.roll(views, 1, 1) + np.roll(views, 1, 2) + np.roll(views, -1, 1) + np.roll(views, -1, 2)) / 5
    return np.clip(blurred + rng.normal(0, 2.5, blurred.shape), 0, 255).astype(np.uint8)


def _decision(rng: np.random.Generator, scene: _Scene, step: int, mode: str, count: int) -> Decision:
    times = {"encode": 5.0, "propose": 38.0, "score": 9.0}
    threshold = -0.075 if mode == "full" else None
    plain = _round(rng, scene, step, 1 if mode == "single" else count, False, 0.05)
    scores = plain.scores if plain.scores is not None else np.zeros(1, np.float32)
    passed = bool(scores.max() >= threshold) if threshold is not None else None
    proposals, revision, peak, choice, chosen = plain, None, None, "single" if mode == "single" else "rcs", int(scores.argmax())
    if mode == "full" and not passed:
        proposals, choice = _round(rng, scene, step, count, True, 0.05), "simulated"
        assert proposals.progress is not None
        chosen, times["simulate"] = int(proposals.progress.max(1).argmax()), 92.0
        peak = int(proposals.progress[chosen].argmax())
        if rng.uniform() < 0.5:
            revision, times["revise"] = _round(rng, scene, step, count, True, 0.04), 141.0
            assert revision.progress is not None
            if revision.progress.max() > proposals.progress.max():
                choice, chosen = "revised", int(revision.progress.max(1).argmax())
                peak = int(revision.progress[chosen].argmax())
    if mode == "single":
        proposals = Candidates(actions=plain.actions)
        times.pop("score")
    times = {stage: float(value * rng.lognormal(0, 0.12)) for stage, value in times.items()}
    origin = revision if choice == "revised" and revision is not None else proposals
    length = EXECUTED if peak is None else max(1, min(EXECUTED, peak + 1))
    return Decision(
        step=step,
        mode=mode,
        proposals=proposals,
        choice=choice,
        chosen=chosen,
        chunk=ActionChunk(actions=origin.actions[chosen, :length], control_hz=80.0),
        gate_threshold=threshold,
        gate_passed=passed,
        revision=revision,
        peak=peak,
        milliseconds={**times, "total": sum(times.values())},
    )
