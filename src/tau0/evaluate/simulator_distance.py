"""How far two pictures are apart: PSNR, SSIM, and a learned perceptual distance whose weights come with a package."""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path

import torch
from einops import rearrange, reduce, repeat
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import conv2d, max_pool2d, pad, relu

from tau0.model.weights import WeightsError

ROUNDING_ERROR = (2 / 255) ** 2 / 12
"""Mean squared error of rounding pictures in [-1, 1] to bytes. A smaller one says nothing; PSNR is at most 58.9 dB."""

_SSIM_WINDOW, _SSIM_SIGMA, _SSIM_K1, _SSIM_K2 = 11, 1.5, 0.01, 0.03
_RANGE = 2.0

PERCEPTUAL = "ST-LPIPS (AlexNet), stlpips_pytorch 0.0.2"
_PACKAGE, _WEIGHTS = "stlpips_pytorch", Path("weights/vST0.0/alex_shift_tolerant.pth")
_WEIGHTS_SHA256 = "b356b382f96010f77d085ee8343ecd9fd322d0a56e8de2b2d0549fafcad8b9ee"
_STAGES = (("slice1.0", 2), ("slice2.5", 2), ("slice3.9", 1), ("slice4.11", 1), ("slice5.13", 1))
"""Name and padding of the convolution that ends in each of the compared layers."""


class PerceptualWeightsError(WeightsError):
    """The file of weights is not the one that is known. The message names it."""


def psnr(first: Float[Tensor, "n c h w"], second: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
    """Peak signal-to-noise ratio in dB of pictures in [-1, 1], one number a picture, at most 58.9."""
    error = reduce((first.double() - second.double()).square(), "n c h w -> n", "mean")
    return 10 * torch.log10(_RANGE**2 / error.clamp(min=ROUNDING_ERROR))


def ssim(first: Float[Tensor, "n c h w"], second: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
    """Structural similarity of pictures in [-1, 1], at most 1: the mean over channels and over all places where the window fits.

    A Gaussian window of 11 x 11 with sigma 1.5, K1 = 0.01, K2 = 0.03 (Wang, Bovik, Sheikh and Simoncelli 2004, equation 13).

    Raises:
        ValueError: When a side is shorter than the window.
    """
    if min(first.shape[-2:]) < _SSIM_WINDOW:
        raise ValueError(f"SSIM needs pictures of at least {_SSIM_WINDOW} pixels a side, got {first.shape[-2]} x {first.shape[-1]}")
    x, y = (rearrange(picture.float(), "n c h w -> (n c) h w") for picture in (first, second))
    mean_x, mean_y = _blurred(x), _blurred(y)
    var_x, var_y = _blurred(x * x) - mean_x**2, _blurred(y * y) - mean_y**2
    covariance = _blurred(x * y) - mean_x * mean_y
    c1, c2 = (_SSIM_K1 * _RANGE) ** 2, (_SSIM_K2 * _RANGE) ** 2
    # The formula supposes values from 0; with a range from -1 the means are shifted, which variances do not notice.
    mean_x, mean_y = mean_x + 1, mean_y + 1
    similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2) / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
    return reduce(similarity.double(), "(n c) h w -> n", "mean", c=first.shape[1])


def _blurred(x: Float[Tensor, "n h w"]) -> Float[Tensor, "n h2 w2"]:
    """Weighted means under the window. As two matrix products: a convolution of one channel takes twenty times as long on a CPU."""
    down, along = (_window_matrix(side).to(x) for side in x.shape[-2:])
    return down @ x @ along.T


def _window_matrix(side: int) -> Float[Tensor, "places side"]:
    """The window at every place where it fits, a row each."""
    offsets = torch.arange(side)[None] - torch.arange(side - _SSIM_WINDOW + 1)[:, None] - (_SSIM_WINDOW - 1) / 2
    weights = torch.exp(-(offsets**2) / (2 * _SSIM_SIGMA**2)) * (offsets.abs() <= (_SSIM_WINDOW - 1) / 2)
    return weights / weights.sum(dim=1, keepdim=True)


class PerceptualDistance(nn.Module):
    """Shift-tolerant LPIPS: how differently a network sees two pictures, calibrated on human judgements (Ghildyal and Liu, ECCV 2022).

    AlexNet without strides; what it halves it blurs first. Only the weights come from the package: its own modules import others that it
    does not declare.
    """

    def __init__(self, weights: dict[str, Tensor]) -> None:
        """A network with these weights, under the package's names."""
        super().__init__()
        self._weights = nn.ParameterDict({k.replace(".", "_"): nn.Parameter(v, requires_grad=False) for k, v in weights.items()})

    @torch.inference_mode()
    def features(self, pictures: Float[Tensor, "n 3 h w"]) -> list[Float[Tensor, "n c h2 w2"]]:
        """What five layers see in pictures in [-1, 1], each place scaled to length 1: compute it once for what is compared often."""
        x, seen = (pictures.float() - self._named("scaling_layer.shift")) / self._named("scaling_layer.scale"), []
        for stage, (name, padding) in enumerate(_STAGES):
            if stage in (1, 2):
                x = _halved(max_pool2d(x, 3, 1))
            x = conv2d(x, self._named(f"net.{name}.weight"), self._named(f"net.{name}.bias"), padding=padding)
            x = relu(_halved(x) if stage == 0 else x)
            seen.append(x / (x.square().sum(dim=1, keepdim=True).sqrt() + 1e-10))
        return seen

    @torch.inference_mode()
    def between(self, first: list[Tensor], second: list[Tensor]) -> Float[Tensor, " n"]:
        """The distance of two stacks of `features`, at least 0, one number a picture."""
        layers = [
            conv2d((a - b).square(), self._named(f"lin{i}.model.1.weight")).mean(dim=(1, 2, 3))
            for i, (a, b) in enumerate(zip(first, second, strict=True))
        ]
        return torch.stack(layers).sum(dim=0).double()

    def _named(self, name: str) -> Tensor:
        return self._weights[name.replace(".", "_")]


def _halved(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h2 w2"]:
    """Every second place after a binomial blur of 3 x 3, with a reflected border of 2."""
    binomial = x.new_tensor([0.25, 0.5, 0.25])
    kernel = repeat(binomial[:, None] * binomial, "p q -> c 1 p q", c=x.shape[1])
    return conv2d(pad(x, (2, 2, 2, 2), mode="reflect"), kernel, stride=2, groups=x.shape[1])


def load_perceptual() -> PerceptualDistance | None:
    """The perceptual distance; None where the package with its weights (extra `report`) is not installed.

    Raises:
        PerceptualWeightsError: The file there is another one.
    """
    found = find_spec(_PACKAGE)
    if found is None or not found.submodule_search_locations:
        return None
    path = Path(found.submodule_search_locations[0]) / _WEIGHTS
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != _WEIGHTS_SHA256:
        raise PerceptualWeightsError(f"{path} is not the file that {_PACKAGE} 0.0.2 has: install it again, with the constraints")
    return PerceptualDistance(torch.load(path, map_location="cpu", weights_only=True))
