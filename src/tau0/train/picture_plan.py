"""How training comes by its pictures: as latents that were encoded ahead of time, or out of video; as they are, or changed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from tau0.train.augmentation import Augmentation
from tau0.train.clips import PictureSpec, Recording
from tau0.train.picture_encoder import PictureEncoder
from tau0.train.pictures import PictureSource
from tau0.train.pictures_cached import CachedLatents
from tau0.train.pictures_video import LatentsFromVideo

ReadFrom = Literal["latents", "video"]


@dataclass(frozen=True, kw_only=True)
class PicturePlan:
    """Where pictures come from, and how they are changed.

    Attributes:
        read: Latents on disk, or video files each time anew. Unchanged pictures give the same latents either way.
        variants: Copies of every picture among the latents on disk, the plain one counted; a sample takes another one each time.
        augmentation: What pictures are changed by: the variants beyond the first, or every sample from video.
    """

    read: ReadFrom = "latents"
    variants: int = 1
    augmentation: Augmentation | None = None

    def __post_init__(self) -> None:
        if self.read == "video" and self.variants != 1:
            raise ValueError(f"variants are {self.variants}: they are of latents on disk, from video a sample is changed each time")
        if self.read == "latents" and (self.variants > 1) != (self.augmentation is not None):
            raise ValueError(f"latents on disk are changed in variants beyond the first: got {self.variants} and {self.augmentation}")

    def described(self) -> dict[str, Any]:
        """What samples depend on, as JSON: nothing where pictures are not changed."""
        if self.augmentation is None:
            return {}
        return {"variants": self.variants if self.read == "latents" else "anew", **asdict(self.augmentation)}

    def open(self, recording: Recording, spec: PictureSpec, encoder: PictureEncoder, cache: Path | None) -> PictureSource:
        """The pictures of one source.

        Args:
            recording: The aligned source.
            spec: Which pictures.
            encoder: Of them; of latents on disk only its facts are asked.
            cache: Folder with latents of any source; beside the dataset unless given.

        Raises:
            ContractError: When the cameras differ in size, or do not fit the autoencoder.
            DatasetError: When the description's cameras are not the dataset's, none is wanted, or latents are not all there.
        """
        if self.read == "video":
            return LatentsFromVideo(recording, spec, encoder, self.augmentation)
        return CachedLatents(recording, spec, encoder.facts, cache, self.augmentation, self.variants)
