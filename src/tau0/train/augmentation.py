"""Colour jitter and cropping of training pictures: pure functions of a seed and of what the picture belongs to.

All frames of a sample, memory and future too, are changed alike: otherwise the model would learn that light flickers and cameras jump.
Colour is drawn once for all cameras, which see the same light; the crop is drawn for each camera, since cameras are mounted one by one.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

GREY = (0.299, 0.587, 0.114)


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How much pictures are changed.

    Attributes:
        seed: Of everything drawn.
        crop: Share of each side that is kept, above 0 and at most 1; it is scaled up to the full picture again.
        brightness: Largest shift, as a share of the range from black to white.
        contrast: Largest relative change of the distance from mid grey.
        saturation: Largest relative change of the distance from grey.
    """

    seed: int = 0
    crop: float = 0.95
    brightness: float = 0.1
    contrast: float = 0.1
    saturation: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.crop <= 1:
            raise ValueError(f"crop must be above 0 and at most 1, got {self.crop}")
        for name in ("brightness", "contrast", "saturation"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be in [0, 1), got {getattr(self, name)}")

    @property
    def identity(self) -> str:
        """16 hex digits that differ for different augmentations."""
        return hashlib.sha256(repr(sorted(asdict(self).items())).encode()).hexdigest()[:16]

    def draw(self, sample: int, epoch: int, num_views: int) -> Draw:
        """What happens to one sample.

        Args:
            sample: Its row, or whatever numbers what is changed alike. At least 0.
            epoch: Another number draws anew: the pass over the data, the step, or the variant. At least 0.
            num_views: Cameras.
        """
        rng = np.random.default_rng((self.seed, sample, epoch))
        brightness, contrast, saturation = rng.uniform(-1, 1, 3) * (self.brightness, self.contrast, self.saturation)
        corners = tuple((float(top), float(left)) for top, left in rng.random((num_views, 2)))
        return Draw(
            crop=self.crop,
            corners=corners,
            brightness=2 * float(brightness),
            contrast=1 + float(contrast),
            saturation=1 + float(saturation),
        )

    def variant(self, sample: int, epoch: int, num_variants: int) -> int:
        """Which of the variants encoded ahead of time a sample takes; 0 is the unchanged one."""
        return int(np.random.default_rng((self.seed, sample, epoch)).integers(num_variants))


@dataclass(frozen=True, kw_only=True)
class Draw:
    """One draw of an `Augmentation`.

    Attributes:
        crop: Share of each side that is kept.
        corners: Where each view is cropped: shares of the slack above and to the left, in [0, 1].
        brightness: Added, in pixels of [-1, 1].
        contrast: Factor.
        saturation: Factor.
    """

    crop: float
    corners: tuple[tuple[float, float], ...]
    brightness: float
    contrast: float
    saturation: float

    def __call__(self, video: Float[Tensor, "t c h w"], view: int) -> Float[Tensor, "t c h w"]:
        """The same frames, changed alike; pixels in [-1, 1] before and after."""
        height, width = video.shape[2:]
        rows, columns = (max(1, round(side * self.crop)) for side in (height, width))
        top, left = (round(share * slack) for share, slack in zip(self.corners[view], (height - rows, width - columns), strict=True))
        if (rows, columns) != (height, width):
            cropped = video[:, :, top : top + rows, left : left + columns]
            video = interpolate(cropped, (height, width), mode="bilinear", align_corners=False)
        grey = (video * torch.tensor(GREY, device=video.device)[:, None, None]).sum(dim=1, keepdim=True)
        video = grey + self.saturation * (video - grey)
        return (self.contrast * video + self.brightness).clamp(-1, 1)
