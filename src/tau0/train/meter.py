"""How fast training is, and what share of the hardware it uses."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import psutil
import torch

from tau0.data.index import Stream
from tau0.model.config import SamplingConfig
from tau0.model.world_model import WorldModel
from tau0.tensors import Batch
from tau0.train.config import TrainConfig
from tau0.train.costs import SampleShape, policy_work, simulator_work
from tau0.train.parallel import has_fast_bfloat16

PEAK_SIDE = {"cpu": 512, "cuda": 8192}
PEAK_REPEATS = 5
GIB = 2**30


class Meter:
    """Counts what a step does, and divides by its time.

    The share of the hardware (`model_flops_utilisation`) is useful operations, by `costs`, over those that plain matrix products of this
    device and number format manage in the same time, measured once.
    """

    def __init__(
        self, models: Mapping[Stream, WorldModel], config: TrainConfig, sampling: SamplingConfig, device: torch.device, processes: int
    ) -> None:
        self._models, self._config, self._sampling, self._device, self._processes = models, config, sampling, device, processes
        self._step: dict[Stream, tuple[int, int, int]] = {}
        self._waited_s = 0.0
        self._peak: float | None = None

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Time inside counts as waiting for data."""
        before = time.monotonic()
        try:
            yield
        finally:
            self._waited_s += time.monotonic() - before

    def saw(self, stream: Stream, batch: Batch, samples: int) -> None:
        """A batch of the stream was trained on; all processes together have `samples` a step."""
        if stream not in self._step:
            model, shape = self._models[stream].config, sample_shape(batch, self._config, self._sampling)
            frames = shape.policy_frames if stream == "policy" else shape.simulator_frames
            work = (
                policy_work(model, shape)
                if stream == "policy"
                else simulator_work(model, shape, progress_shapes_trunk=self._config.progress_shapes_trunk)
            )
            self._step[stream] = samples, samples * shape.tokens(model.trunk, frames), samples * work.total

    def rates(self, seconds: float) -> dict[str, float]:
        """Of a step that took so long: per second of all processes; waiting and memory are this process's."""
        samples, tokens, flops = (sum(numbers[i] for numbers in self._step.values()) for i in range(3))
        waited, self._waited_s = self._waited_s, 0.0
        if self._peak is None:
            self._peak = measured_peak(self._device)
        return {
            "samples_per_s": samples / seconds,
            "tokens_per_s": tokens / seconds,
            "step_s": seconds,
            "data_wait_s": waited,
            "memory_gib": _memory_bytes(self._device) / GIB,
            "model_flops_utilisation": flops / seconds / (self._peak * self._processes),
        }


def sample_shape(batch: Batch, config: TrainConfig, sampling: SamplingConfig) -> SampleShape:
    """What the batch's samples look like."""
    _, views, _, _, height, width = batch.latents.shape
    return SampleShape(
        views=views,
        height=height,
        width=width,
        memory=sampling.num_memory,
        future=sampling.num_future,
        horizon=batch.target_actions.shape[1],
        draws=config.action_draws,
    )


def measured_peak(device: torch.device) -> float:
    """Floating-point operations a second of a square matrix product in the format that training uses, the fastest of a few."""
    side = PEAK_SIDE[device.type]
    x = torch.ones(side, side, device=device, dtype=torch.bfloat16 if has_fast_bfloat16(device.type) else torch.float32)
    times = []
    for _ in range(PEAK_REPEATS):
        began = time.perf_counter()
        y = x @ x
        float(y[0, 0])  # waits for the device
        times.append(time.perf_counter() - began)
    return 2 * side**3 / min(times)


def _memory_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return psutil.Process().memory_info().rss
