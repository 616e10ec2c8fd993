from __future__ import annotations

import contextlib
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tau0.serve import wire

DTYPES = st.sampled_from(list(wire.DTYPES.values()))
ARRAYS = DTYPES.flatmap(lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)))
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def packed(value: Any) -> bytes:
    return bytes(msgpack.packb(value) or b"")


@given(st.dictionaries(st.text(max_size=8), ARRAYS, max_size=3))
def test_arrays_come_back_as_they_were(message: dict[str, Any]) -> None:
    back = wire.decode(wire.encode(message))
    assert back.keys() == message.keys()
    for name, array in message.items():
        assert (back[name].dtype, back[name].shape) == (array.dtype, array.shape)
        assert back[name].tobytes() == array.tobytes()


@given(st.dictionaries(st.text(max_size=8), VALUES, max_size=4))
def test_everything_else_comes_back_too(message: dict[str, Any]) -> None:
    assert wire.decode(wire.encode(message)) == message


def test_openpis_packer_and_ours_read_each_other() -> None:
    msgpack_numpy = pytest.importorskip("openpi_client.msgpack_numpy")
    message = {
        "image": np.arange(24, dtype=np.uint8).reshape(2, 4, 3),
        "state": np.ones(3, np.float32),
        "n": np.float32(2.5),
        "prompt": "go",
    }
    for data in (msgpack_numpy.Packer().pack(message), wire.encode(message)):
        for back in (wire.decode(data), msgpack_numpy.unpackb(data)):
            assert np.array_equal(back["image"], message["image"])
            assert back["state"].dtype == np.float32
            assert (back["n"], back["prompt"]) == (np.float32(2.5), "go")
    assert wire.encode(message) == msgpack_numpy.packb(message)


@pytest.mark.parametrize("value", [np.array([object()]), np.array(["text"]), np.zeros(2, [("a", "f4")]), np.array(1j), {1, 2}, object()])
def test_what_has_no_form_is_not_sent(value: Any) -> None:
    with pytest.raises(wire.WireError, match="cannot be sent"):
        wire.encode({"value": value})


def array(data: Any = b"\0" * 8, dtype: Any = "<f4", shape: Any = (2,)) -> dict[Any, Any]:
    return {b"__ndarray__": True, b"data": data, b"dtype": dtype, b"shape": shape}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (array(dtype="|O"), "dtype"),
        (array(dtype="O"), "dtype"),
        (array(dtype="<M8[s]"), "dtype"),
        (array(dtype="(1000000000,)f4"), "dtype"),
        (array(dtype=[["a", "<f4"]]), "dtype"),
        (array(shape=(3,)), "12 bytes, got 8"),
        (array(shape=(-2,)), "whole numbers"),
        (array(shape=(True, 2)), "whole numbers"),
        (array(shape=(2**31, 2**31, 2**31)), "bytes, got 8"),
        (array(shape=(1,) * 9), "at most 8"),
        (array(data="text"), "needs its bytes"),
        ({b"__ndarray__": True, b"data": b""}, "no array"),
        ({**array(), b"more": 1}, "no array"),
        ({b"__npgeneric__": True, b"data": "1", b"dtype": "<f4"}, "must be a number"),
        ({b"__npgeneric__": True, b"data": 2**40, b"dtype": "|u1"}, "does not fit"),
        ({b"__class__": "os.system"}, "no array"),
        (msgpack.ExtType(5, b"code"), "extension 5"),
        (msgpack.Timestamp(1), None),
    ],
)
def test_what_is_no_array_is_refused_with_a_reason(value: Any, reason: str | None) -> None:
    data = packed({"value": value})
    if reason is None:
        assert not isinstance(wire.decode(data)["value"], np.ndarray)
        return
    with pytest.raises(wire.WireError, match=reason):
        wire.decode(data)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "these 0 bytes are not one msgpack message: it breaks off"),
        (b"\x81", "it breaks off"),
        (b"\xc1", "it begins with a byte that nothing begins with"),
        (b"\x80\x80", "more follows after its end"),
        (b"\x91" * 5000, "it is nested too deeply"),
        (packed([1]), "got a list"),
        (packed({1: 2}), "int is not allowed for map key"),
        (packed({b"a": 1}), "no array"),
    ],
)
def test_garbage_is_no_message_and_the_reason_is_said(data: bytes, reason: str) -> None:
    with pytest.raises(wire.WireError, match=reason):
        wire.decode(data)


@given(st.binary(max_size=200))
def test_no_bytes_do_anything_but_decode_or_be_refused(data: bytes) -> None:
    with contextlib.suppress(wire.WireError):
        assert isinstance(wire.decode(data), dict)


def test_pickled_bytes_are_not_run() -> None:
    import pickle

    class Bomb:
        def __reduce__(self) -> Any:
            return (pytest.fail, ("it was unpickled",))

    bomb = pickle.dumps(Bomb())
    with pytest.raises(wire.WireError):
        wire.decode(bomb)
    for dtype in ("|O", "O8", "object"):
        with pytest.raises(wire.WireError, match="dtype"):
            wire.decode(packed({"images": array(data=bomb, dtype=dtype, shape=(1,))}))
