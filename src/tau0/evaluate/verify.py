"""Does this machine compute what the published system computes? Checks golden files, output by output.

A golden file holds weights, inputs and outputs under the published names (SPEC.md section 9). Its `kind` says what it records.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from safetensors import SafetensorError, safe_open
from torch import Tensor

from tau0.actions import absolute_from_delta, absolute_from_relative, delta_to_previous, relative_to_state
from tau0.data.progress import aligned_progress, success_progress
from tau0.evaluate.setting import Setting
from tau0.flow import TIMESTEP_SCALE, Euler, Schedule, UniPC, euler_schedule, shift, solve, unipc_schedule
from tau0.geometry import matrix_to_rotation_6d, quaternion_to_matrix
from tau0.model.names import from_published
from tau0.model.published import from_published_shape
from tau0.model.weights import load_exactly
from tau0.model.world_model import WorldModel
from tau0.plan.score import redenoising_consistency

SCHEDULE_TOLERANCE = 1e-5
FLOAT32_NOISE_TOLERANCE = 1e-6


class GoldenFileError(ValueError):
    """A file that is not a golden file, or lacks something a golden file of its kind has."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One output: the largest absolute error as a share of the largest expected value, and what is allowed."""

    output: str
    error: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """False also when the error is not a number."""
        return self.error <= self.tolerance


def verify_file(path: Path, setting: Setting | None = None) -> list[Check]:
    """Recomputes every output in the file.

    Args:
        path: A golden file.
        setting: How networks are computed; in float32 on the CPU unless given. The other kinds are float32 and float64 always.

    Raises:
        SettingError: When the setting's device is not there.
        GoldenFileError: Unreadable, of an unknown kind, or incomplete; the message names the file and what it lacks.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise GoldenFileError(f"{path}: cannot be read as safetensors: {error}") from error
    setting = setting or Setting()
    setting.check()
    kind = metadata.get("kind")
    if kind not in KINDS:
        raise GoldenFileError(f"{path}: its metadata says kind={kind!r}, expected one of {sorted(KINDS)}")
    try:
        with setting.computing() if kind in NETWORKS else torch.inference_mode():
            checks = list(KINDS[kind](setting.moved(tensors), metadata, setting))
    except KeyError as error:
        raise GoldenFileError(f"{path}: a file of kind {kind!r} needs {error}") from error
    except (ValueError, RuntimeError) as error:
        raise GoldenFileError(f"{path}: is not a whole file of kind {kind!r}: {error}") from error
    if not checks:
        raise GoldenFileError(f"{path}: a file of kind {kind!r} holds at least one output, this one none")
    return checks


def _compare(output: str, ours: Tensor, expected: Tensor, tolerance: float) -> Check:
    ours, expected = ours.cpu(), expected.cpu()
    if ours.shape != expected.shape:
        raise GoldenFileError(f"{output} has shape {tuple(expected.shape)} in the file, ours has {tuple(ours.shape)}")
    scale = expected.abs().max().clamp(min=torch.finfo(torch.float32).tiny)
    return Check(output=output, error=float((ours - expected).abs().max() / scale), tolerance=tolerance)


def _load(tensors: Mapping[str, Tensor], metadata: Mapping[str, str], setting: Setting) -> tuple[WorldModel, dict[str, Any]]:
    published = json.loads(metadata["config"])
    model = WorldModel(from_published_shape(published))
    weights = {name.removeprefix("weights."): t for name, t in tensors.items() if name.startswith("weights.")}
    load_exactly(model, from_published(weights), "the golden file")
    setting.place(model)
    return model.eval(), published


def _frame_timesteps(latents: Tensor, level: Tensor, num_clean: int) -> Tensor:
    clean = level.new_zeros(len(latents), num_clean)
    return torch.cat([clean, rearrange(level, "b -> b 1").expand(-1, latents.shape[2] - num_clean)], dim=1)


def _policy(tensors: Mapping[str, Tensor], metadata: Mapping[str, str], setting: Setting) -> Iterator[Check]:
    model, _ = _load(tensors, metadata, setting)
    latents, state = tensors["in.latents"], tensors["in.state"].squeeze(1)
    timestep = _frame_timesteps(latents, tensors["in.video_timestep"], num_clean=1)
    features = model.video_features(latents, timestep, tensors["in.text"])
    context = model.action_context(features)
    yield _compare("video", features.velocity, tensors["out.video"], setting.tolerance)
    for i, hidden in enumerate(features.hidden):
        yield _compare(f"video_hidden.{i}", hidden, tensors[f"out.video_hidden.{i}"], setting.tolerance)
    actions = model.denoise_actions(context, tensors["in.noisy_actions"], tensors["in.action_timestep"], state)
    yield _compare("action", actions, tensors["out.action"], setting.tolerance)
    if "rcs.candidates" in tensors:
        first = tuple((k[:1], v[:1]) for k, v in context)

        def velocity(noisy: Tensor, sigma: float) -> Tensor:
            level = noisy.new_full((len(noisy),), TIMESTEP_SCALE * sigma)
            return model.denoise_actions(first, noisy, level, state[:1].expand(len(noisy), -1))

        score = redenoising_consistency(velocity, tensors["rcs.candidates"], tensors["rcs.noise"], (float(tensors["rcs.sigma"]),))
        yield _compare("rcs.score", score, tensors["rcs.score"], setting.tolerance)


def _simulator(tensors: Mapping[str, Tensor], metadata: Mapping[str, str], setting: Setting) -> Iterator[Check]:
    model, published = _load(tensors, metadata, setting)
    latents = tensors["in.latents"]
    timestep = _frame_timesteps(latents, tensors["in.video_timestep"], num_clean=published["n_mem"] + 1)
    noisy = tensors["in.noisy_progress"].squeeze(-1)
    features, progress = model.denoise_future(
        latents, timestep, tensors["in.text"], tensors["in.actions"], noisy, tensors["in.progress_timestep"]
    )
    yield _compare("video", features.velocity, tensors["out.video"], setting.tolerance)
    yield _compare("progress", rearrange(progress, "b ha -> b ha 1"), tensors["out.progress"], setting.tolerance)


def _schedules(tensors: Mapping[str, Tensor], metadata: Mapping[str, str], _: Setting) -> Iterator[Check]:
    if "sin(3 x) + (0.5 - sigma) x" not in metadata.get("velocity", ""):
        raise GoldenFileError(f"unknown velocity {metadata.get('velocity')!r}")
    for name in sorted(n.removesuffix(".sigmas") for n in tensors if n.endswith(".sigmas")):
        match = re.fullmatch(r"(euler|unipc)\.shift([\d.]+)\.steps(\d+)", name)
        if match is None:
            raise GoldenFileError(f"{name!r} is not (euler or unipc).shiftK.stepsN")
        k, num_steps = float(match[2]), int(match[3])
        if match[1] == "euler":
            schedule = _shifted_again(euler_schedule(num_steps, k), k)
            solver = Euler(schedule)
        else:
            schedule = unipc_schedule(num_steps, k)
            solver = UniPC(schedule)
        end = solve(solver, tensors["initial"], lambda x, timestep: torch.sin(3 * x) + (0.5 - timestep / TIMESTEP_SCALE) * x)
        yield _compare(f"{name}.sigmas", schedule.sigmas.float(), tensors[f"{name}.sigmas"], SCHEDULE_TOLERANCE)
        yield _compare(f"{name}.timesteps", schedule.timesteps, tensors[f"{name}.timesteps"], SCHEDULE_TOLERANCE)
        yield _compare(f"{name}.final", end, tensors[f"{name}.final"], SCHEDULE_TOLERANCE)


def _shifted_again(schedule: Schedule, k: float) -> Schedule:
    """The released Euler shifts twice (SPEC.md section 8); ours shifts once, and only here twice."""
    sigmas = shift(schedule.sigmas, k)
    return Schedule(sigmas=sigmas, timesteps=(TIMESTEP_SCALE * sigmas[:-1]).float())


def _end_effector_actions(tensors: Mapping[str, Tensor], _: Mapping[str, str], __: Setting) -> Iterator[Check]:
    def poses(position: Tensor, quaternion: Tensor) -> Tensor:
        rotation = matrix_to_rotation_6d(quaternion_to_matrix(quaternion))
        return rearrange(torch.cat([position, rotation], dim=-1), "t arm d -> t (arm d)")

    state = poses(tensors["state_position"], tensors["state_quaternion_xyzw"])[0]
    absolute = poses(tensors["position"], tensors["quaternion_xyzw"])
    results = {
        "absolute_6d": absolute,
        "relative_6d": relative_to_state(absolute, state),
        "delta_6d": delta_to_previous(absolute, state),
        "absolute_from_relative": absolute_from_relative(tensors["relative_6d"], state),
        "absolute_from_delta": absolute_from_delta(tensors["delta_6d"], state),
    }
    yield _compare("state_6d", state.unsqueeze(0), tensors["state_6d"], FLOAT32_NOISE_TOLERANCE)
    for name, ours in results.items():
        expected = tensors["absolute_6d" if name == "absolute_from_delta" else name]
        yield _compare(name, ours, expected, FLOAT32_NOISE_TOLERANCE)


def _progress_labels(tensors: Mapping[str, Tensor], _: Mapping[str, str], __: Setting) -> Iterator[Check]:
    for name in sorted(n for n in tensors if n.startswith("success.")):
        steps, gamma = name.split(".", 2)[1:]
        returns = torch.from_numpy(success_progress(int(steps.removeprefix("steps")), float(gamma.removeprefix("gamma"))))
        yield _compare(name, returns, tensors[name], FLOAT32_NOISE_TOLERANCE)
    names = ("sample_indices", "valid_indices", "valid_returns")
    aligned = aligned_progress(*(tensors[f"aligned.{name}"].cpu().numpy() for name in names))
    yield _compare("aligned.progress", torch.from_numpy(aligned), tensors["aligned.progress"], FLOAT32_NOISE_TOLERANCE)


NETWORKS = ("policy", "simulator")
KINDS: dict[str, Callable[[Mapping[str, Tensor], Mapping[str, str], Setting], Iterator[Check]]] = {
    "policy": _policy,
    "simulator": _simulator,
    "schedules": _schedules,
    "end_effector_actions": _end_effector_actions,
    "progress_labels": _progress_labels,
}
