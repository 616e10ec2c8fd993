"""The published text encoder through transformers: a small random instance of the very class, with a small tokenizer of the same kind."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from tau0.contract import ContractError
from tau0.model.encoder_folder import EncoderFolderError
from tau0.model.text import CachedText
from tau0.model.umt5 import UMT5, clean

modeling = pytest.importorskip("transformers.models.umt5.modeling_umt5")

SPECIAL = ("<pad>", "</s>", "<unk>")
WORDS = ("▁open", "▁the", "▁drawer", "▁push", "▁", *"abcdefghijklmnopqrstuvwxyz'&.")
TEXTS = ("open the drawer", "", "push the cup to the left, gently.")
FOLDERS = ("text_encoder", "tokenizer")


@pytest.fixture(scope="module")
def wan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Laid out as Wan 2.2 in diffusers' form: `text_encoder` beside `tokenizer`."""
    path = tmp_path_factory.mktemp("wan")
    torch.manual_seed(0)
    config = modeling.UMT5Config(
        vocab_size=len(SPECIAL) + len(WORDS), d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, dropout_rate=0.1
    )
    modeling.UMT5EncoderModel(config).save_pretrained(path / "text_encoder")
    vocabulary = [(token, 0.0) for token in SPECIAL] + [(word, -1.0 - 0.1 * i) for i, word in enumerate(WORDS)]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=2))
    tokenizer.normalizer = normalizers.NFKC()  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.post_processor = processors.TemplateProcessing(  # pyright: ignore[reportAttributeAccessIssue]
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    tokenizer.enable_truncation(4)
    (path / "tokenizer").mkdir()
    tokenizer.save(str(path / "tokenizer" / "tokenizer.json"))
    return path


@pytest.fixture
def copy(wan: Path, tmp_path: Path) -> Path:
    for name in FOLDERS:
        (tmp_path / name).mkdir()
        for file in (wan / name).iterdir():
            (tmp_path / name / file.name).write_bytes(file.read_bytes())
    return tmp_path


def encoder(wan: Path, length: int = 40) -> UMT5:
    return UMT5(wan / "text_encoder", wan / "tokenizer", length)


@torch.no_grad()
def test_features_equal_transformers_own(wan: Path) -> None:
    tokenization = pytest.importorskip("transformers.tokenization_utils_tokenizers")
    fast = tokenization.PreTrainedTokenizerFast(
        tokenizer_file=str(wan / "tokenizer" / "tokenizer.json"), pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
    tokens = fast(list(TEXTS), padding="max_length", max_length=40, truncation=True, return_tensors="pt")
    network = modeling.UMT5EncoderModel.from_pretrained(wan / "text_encoder", local_files_only=True).eval()
    hidden = network(tokens.input_ids, tokens.attention_mask).last_hidden_state
    features = encoder(wan).encode(TEXTS)
    assert features.dtype == torch.float32
    torch.testing.assert_close(features, hidden * tokens.attention_mask[..., None], rtol=0, atol=1e-5)
    assert [(row != 0).any(-1).sum().item() for row in features] == tokens.attention_mask.sum(1).tolist()


def test_a_dropped_caption_is_the_end_token_alone(wan: Path) -> None:
    (features,) = encoder(wan).encode([""])
    assert (features != 0).any(-1).tolist() == [True] + 39 * [False]


def test_texts_are_mended_before_they_are_read(wan: Path) -> None:
    assert clean("  the\u2019s  cup\n&amp;amp; \u00e2\u20ac\u2122 ") == "the's cup & '"
    plain, curly = encoder(wan).encode(["push the man's cup", " push  the man\u2019s\tcup "])
    assert torch.equal(plain, curly)


def test_too_long_a_text_is_refused(wan: Path) -> None:
    assert encoder(wan, 4).encode(["open the drawer"]).shape == (1, 4, 32)
    with pytest.raises(ContractError, match="may have 4 tokens, this has 5; say it shorter: 'open the the drawer'"):
        encoder(wan, 4).encode(["open the the drawer"])


def test_half_precision_is_kept_and_float_comes_out(copy: Path) -> None:
    file = copy / "text_encoder" / "model.safetensors"
    before, full = encoder(copy).identity, encoder(copy).encode(TEXTS)
    save_file({name: tensor.bfloat16() for name, tensor in load_file(file).items()}, file)
    half = encoder(copy)
    assert half.identity != before
    torch.testing.assert_close(half.encode(TEXTS), full, rtol=0.1, atol=0.1)
    assert next(half._network.parameters()).dtype == torch.bfloat16


def test_identity_names_weights_tokenizer_and_length(wan: Path, copy: Path) -> None:
    identity = encoder(wan).identity
    assert identity == encoder(copy).identity
    assert identity.startswith("umt5@")
    assert identity.endswith(" last-hidden-state length=40")
    assert encoder(wan, 41).identity.split()[0] == identity.split()[0]
    with (copy / "tokenizer" / "tokenizer.json").open("a") as file:
        file.write("\n")
    assert encoder(copy).identity != identity


def test_features_on_disk_need_no_weights(wan: Path, copy: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    known = CachedText(encoder(wan), cache).encode(TEXTS)
    again = encoder(copy)
    assert torch.equal(CachedText(again, cache).encode(TEXTS), known)
    assert "_network" not in vars(again)


def test_a_tokenizer_without_an_end_is_refused(copy: Path) -> None:
    path = copy / "tokenizer" / "tokenizer.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "post_processor": None}))
    with pytest.raises(EncoderFolderError, match="does not end a text with token 1"):
        encoder(copy).encode(["open"])


def test_what_a_folder_lacks_is_named(copy: Path) -> None:
    with pytest.raises(EncoderFolderError, match=r"lacks tokenizer\.json"):
        UMT5(copy / "text_encoder", copy)
    config = copy / "text_encoder" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "num_layers": 3}))
    with pytest.raises(EncoderFolderError, match=r"missing encoder\.block\.2"):
        encoder(copy).encode(["open"])
    config.write_text(json.dumps({"model_type": "umt5", "vocab_size": 10}))
    with pytest.raises(EncoderFolderError, match="d_model: Field required; d_kv"):
        encoder(copy)
    config.write_text(json.dumps({"model_type": "t5"}))
    with pytest.raises(EncoderFolderError, match="holds a t5, not a umt5"):
        encoder(copy)


@pytest.mark.parametrize("module", ["transformers", "ftfy"])
def test_without_the_extra(wan: Path, monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ModuleNotFoundError, match=rf"needs {module}, which is not installed: pip install 'tau0-wm\[wan\]'"):
        encoder(wan).encode(["open"])
