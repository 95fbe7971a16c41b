"""Typed wrappers of Arrow calls whose stubs are incomplete.

Here: calls that do not make Arrow import pandas. `pa.array` and `to_numpy` do, which costs each run half a second.
Not here: what the values mean.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    Array = pa.Array[Any]
else:  # generic in the stubs alone
    Array = pa.Array

Ints = np.ndarray[tuple[int], np.dtype[np.int64]]


def convert(values: Array, type_: pa.DataType) -> Array:
    """The values as another type; raises `pyarrow.ArrowInvalid` where that would lose anything."""
    return cast("Array", pc.cast(values, type_))  # pyright: ignore[reportUnknownMemberType]


def texts_of(batch: pa.RecordBatch) -> tuple[pa.StringArray, ...]:
    """The columns of a batch that was read as text."""
    return tuple(cast("list[pa.StringArray]", batch.columns))  # pyright: ignore[reportUnknownMemberType]


def named_batch(columns: Sequence[Array], names: Sequence[str]) -> pa.RecordBatch:
    """A batch of these columns under these names."""
    arrays: Any = list(columns)
    return pa.RecordBatch.from_arrays(arrays, names=list(names))  # pyright: ignore[reportUnknownMemberType]


def integers(values: Ints) -> Array:
    """An Arrow array over the memory of `values`."""
    return pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(cast("Any", values))])


def whole_numbers(values: Array) -> Ints:
    """The values of a column of 64-bit integers that are not null."""
    return _numbers(values, np.dtype(np.int64))


def floating_numbers(values: Array) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The values of a column of 64-bit floats that are not null."""
    return _numbers(values, np.dtype(np.float64))


def _numbers(values: Array, dtype: np.dtype[Any]) -> np.ndarray[tuple[int], Any]:
    present = values.drop_null() if values.null_count else values
    data: Any = present.buffers()[1]
    return np.frombuffer(data or b"", dtype=dtype)[present.offset : present.offset + len(present)]


def substring_counts(values: pa.StringArray, pattern: str) -> Ints:
    """How often `pattern` occurs in each value; 0 in a null."""
    counts = cast("Array", pc.count_substring(values, pattern)).fill_null(0)
    data: Any = counts.buffers()[1]
    return np.frombuffer(data, dtype=np.int32)[counts.offset : counts.offset + len(counts)].astype(np.int64)


def nulls(length: int) -> pa.StringArray:
    """A text column of nulls."""
    return pa.nulls(length, pa.string())
