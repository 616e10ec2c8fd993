"""What a trunk makes of the last text it was asked about."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from tau0.model.attention import KeysValues
from tau0.model.world_model import WorldModel


class TextContext:
    """Keys and values of the trunk's cross-attention, made anew only when another tensor of text comes.

    An instruction lasts for an episode, and its 512 tokens are more than those of the canvas. The model's weights must not change.
    """

    def __init__(self, model: WorldModel) -> None:
        self._model = model
        self._last: tuple[Tensor, tuple[KeysValues, ...]] | None = None

    def of(self, text: Float[Tensor, "b l c"]) -> tuple[KeysValues, ...]:
        """`WorldModel.text_context` of that tensor."""
        if self._last is None or self._last[0] is not text:
            self._last = text, self._model.text_context(text)
        return self._last[1]
