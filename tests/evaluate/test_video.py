"""The film can be decoded, streams from its first byte, and shows what went in."""

from __future__ import annotations

import io

import av
import numpy as np
import pytest
from fake_traces import fake_trace

from tau0.evaluate.video import data_uri, encode_mp4, side_by_side, upscaled


def test_film_decodes_to_what_went_in() -> None:
    frames = side_by_side(fake_trace(0, num_decisions=2, num_candidates=1).frames, gap=2)
    content = encode_mp4(frames, fps=12, height=192)
    assert content.index(b"moov") < content.index(b"mdat")
    with av.open(io.BytesIO(content), "r") as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt, stream.average_rate) == ("h264", "yuv420p", 12)
        decoded = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(stream)])
    assert decoded.shape == (len(frames), 192, 388, 3)
    assert np.abs(decoded[:, ::2, ::2].astype(float) - frames).mean() < 12


@pytest.mark.parametrize("shape", [(1, 97, 33, 3), (2, 300, 401, 3)])
def test_odd_sizes_become_even_and_never_smaller(shape: tuple[int, ...]) -> None:
    frames = np.zeros(shape, np.uint8)
    _, h, w, _ = upscaled(frames, 96).shape
    assert h % 2 == w % 2 == 0
    assert abs(h - shape[1]) <= 1
    assert len(encode_mp4(frames, fps=10, height=96)) > 0


def test_nearest_keeps_pixels_square() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (1, 4, 6, 3), dtype=np.uint8)
    np.testing.assert_array_equal(upscaled(frames, 8, "nearest"), frames.repeat(2, 1).repeat(2, 2))


def test_what_is_no_film_is_refused() -> None:
    with pytest.raises(ValueError, match="uint8 frames"):
        encode_mp4(np.zeros((0, 8, 8, 3), np.uint8), fps=10)
    with pytest.raises(ValueError, match="fps is 0"):
        encode_mp4(np.zeros((1, 8, 8, 3), np.uint8), fps=0)


def test_data_uri() -> None:
    assert data_uri(b"tau", "text/plain") == "data:text/plain;base64,dGF1"
