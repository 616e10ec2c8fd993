"""Arrays on disk that grow row by row and are memory-mapped afterwards: plain .npy files, of which only the last rows are in memory."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tau0.data.info import DatasetError


class GrowingArray:
    """Writes an array of shape (rows, *shape) to a .npy file without knowing `rows` beforehand.

    Rows are written, not mapped: a full disk is then an `OSError` here, where a mapped page would kill the process later.
    """

    def __init__(self, path: Path, dtype: DTypeLike, shape: tuple[int, ...] = ()) -> None:
        self._dtype, self._shape, self._rows = np.dtype(dtype), shape, 0
        self._file: BinaryIO = path.open("wb")
        self._write_header()
        self._data_at = self._file.tell()

    def __enter__(self) -> GrowingArray:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if error is None:
                self._file.seek(0)
                self._write_header()
                assert self._file.tell() == self._data_at, "numpy leaves room for the number of rows to grow"
        finally:
            self._file.close()

    def append(self, rows: NDArray[Any]) -> None:
        """Adds rows, shape (n, *shape).

        Raises:
            OSError: When there is no room.
        """
        assert rows.shape[1:] == self._shape, (rows.shape, self._shape)
        self._file.write(np.ascontiguousarray(rows, self._dtype).tobytes())
        self._rows += len(rows)

    def _write_header(self) -> None:
        header = {"descr": np.lib.format.dtype_to_descr(self._dtype), "fortran_order": False, "shape": (self._rows, *self._shape)}
        np.lib.format.write_array_header_1_0(self._file, header)


def mapped(path: Path, dtype: DTypeLike, shape: tuple[int, ...]) -> NDArray[Any]:
    """The array in a .npy file, memory-mapped and read-only.

    Raises:
        DatasetError: When the file is missing, damaged, or holds an array of another type or shape.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DatasetError(f"{path} is damaged: remove the folder {path.parent}, it is made again") from error
    if array.dtype != np.dtype(dtype) or array.shape != shape:
        found = f"{array.dtype} of shape {array.shape}"
        raise DatasetError(f"{path} holds {found}, expected {np.dtype(dtype)} of shape {shape}: remove {path.parent}, it is made again")
    return array
