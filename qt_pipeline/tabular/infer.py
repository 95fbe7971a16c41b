"""Type inference: the kind of values in a text column, decided from every value and never from a sample.

Here: one batch of text → the profile of its values, at the speed of Arrow and NumPy.
Not here: the lattice that joins batches (see types), the contract that fixes types (see contract).
"""

from dataclasses import replace
from typing import Final, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from qt_pipeline.tabular.arrow import convert
from qt_pipeline.tabular.types import ANY_FRACTION, COMPACT_DATE, ISO_DATE, MAX_SECTIONS, ColumnProfile, Kind

_DIGIT, _MINUS, _DOT, _COLON, _SPACE, _T, _LETTER, _OTHER = (1 << bit for bit in range(8))


def _byte_classes() -> np.ndarray:
    classes = np.full(256, _OTHER, dtype=np.uint8)
    for characters, bit in (("0123456789", _DIGIT), ("-", _MINUS), (".", _DOT), (":", _COLON), (" ", _SPACE)):
        classes[[ord(c) for c in characters]] = bit
    classes[[ord(c) for c in "truefalsTRUEFALS"]] = _LETTER
    classes[ord("T")] = _LETTER | _T
    return classes


_CLASSES: Final = _byte_classes()
_NUMBER_BYTES: Final = _DIGIT | _MINUS | _DOT
_TIMESTAMP: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?$"
_BOOLEAN: Final = r"^(?i:true|false)$"
_NEGATIVE_ZERO: Final = r"^-[0.]*$"
_DATE_LENGTH: Final = 10
_SECONDS_LENGTH: Final = 19
_COMPACT_LENGTH: Final = 8
_SURELY_64_BITS: Final = 18
_TEXT: Final = ColumnProfile(Kind.TEXT)
# UTF-8, as defined by RFC 3629.
_BEYOND_ASCII: Final = 0x80
_CONTINUATION_MASK: Final = 0xC0
_CONTINUATION: Final = 0x80
_FOUR_BYTES: Final = 0xF0


def infer_kind(column: pa.StringArray, *, compact_dates: bool, keep_texts: bool = True) -> ColumnProfile:
    """The profile of the values of `column` (strings, blank as null).

    With `compact_dates`, because the header says so, eight digits may be a date. With `keep_texts`, the profile
    includes the distinct decimals, unless there are too many.
    """
    values = column.drop_null() if column.null_count else column
    if not len(values):
        return ColumnProfile()
    seen = replace(_kind_of(values, compact_dates=compact_dates), length=_max_length(values))
    if seen.kind is not Kind.DECIMAL:
        return seen
    return replace(seen, decimal_texts=_decimal_texts(values) if keep_texts else None)


def _decimal_texts(values: pa.StringArray) -> frozenset[str] | None:
    distinct = pc.unique(values)
    if len(distinct) > MAX_SECTIONS:
        return None
    return frozenset(text for text in cast("list[str]", distinct.to_pylist()) if "." in text)


def measure(column: pa.StringArray) -> ColumnProfile:
    """Like `infer_kind`, for a column that is known to be text."""
    return ColumnProfile(Kind.TEXT, length=_max_length(column)) if column.null_count < len(column) else ColumnProfile()


def _kind_of(values: pa.StringArray, *, compact_dates: bool) -> ColumnProfile:
    present = int(np.bitwise_or.reduce(_CLASSES[_bytes_of(values)]))
    if present & _OTHER:
        return _TEXT
    if not present & ~_NUMBER_BYTES:
        return _infer_numbers(values, present, compact_dates=compact_dates)
    if present & _COLON:
        return _infer_timestamps(values)
    if not present & ~(_LETTER | _T):
        return ColumnProfile(Kind.BOOLEAN) if _all_match(values, _BOOLEAN) else _TEXT
    return _TEXT


def _infer_numbers(values: pa.StringArray, present: int, *, compact_dates: bool) -> ColumnProfile:
    if present & _MINUS and not present & _DOT and _are_dates(values):
        return ColumnProfile(Kind.DATE, format=ISO_DATE)
    # All bytes are digits, minus signs and points: their positions decide whether these are numbers.
    starts, lengths, data = _starts(values), _lengths(values), _bytes_of(values)
    negative = data[starts] == ord("-")
    if present & _MINUS and np.count_nonzero(data == ord("-")) > np.count_nonzero(negative):
        return _TEXT
    points = np.flatnonzero(data == ord(".")) if present & _DOT else np.empty(0, dtype=np.int64)
    owners = np.searchsorted(starts, points, side="right") - 1
    if np.any(owners[1:] == owners[:-1]):
        return _TEXT
    places = starts[owners] + lengths[owners] - points - 1
    whole = lengths - negative
    whole[owners] -= places + 1
    digits = whole.copy()
    digits[owners] += places
    zero = (whole > 0) & (_characters(values, negative.astype(np.int64)) == ord("0"))
    if not digits.min() or np.any(zero & (whole > 1)):
        return _TEXT
    # SQL does not count a lone zero as a digit: a decimal(2,2) holds 0.25.
    whole -= zero
    negative_zero = bool(present & _MINUS) and _has_negative_zero(values, negative)
    if points.size:
        return ColumnProfile(
            Kind.DECIMAL, whole_digits=int(whole.max()), scale=int(places.max()), negative_zero=negative_zero
        )
    return _infer_integers(values, whole, negative, compact_dates=compact_dates, negative_zero=negative_zero)


def _has_negative_zero(values: pa.StringArray, negative: np.ndarray) -> bool:
    # Only these can be zeros; most columns have none.
    second = _characters(values, 1)
    possible = negative & ((second == ord("0")) | (second == ord(".")))
    if not possible.any():
        return False
    zeros = pc.match_substring_regex(values, _NEGATIVE_ZERO)
    return pc.any(zeros).as_py() is True


def _infer_integers(
    values: pa.StringArray, digits: np.ndarray, negative: np.ndarray, *, compact_dates: bool, negative_zero: bool
) -> ColumnProfile:
    most = int(digits.max())
    compact = compact_dates and most == digits.min() == _COMPACT_LENGTH and not np.any(negative)
    if compact and _are_dates(with_dashes(values)):
        return ColumnProfile(Kind.DATE, format=COMPACT_DATE)
    plain = not negative_zero and (most <= _SURELY_64_BITS or _parses(values, pa.int64()))
    return ColumnProfile(Kind.INTEGER, whole_digits=most, canonical=plain, negative_zero=negative_zero)


def _infer_timestamps(values: pa.StringArray) -> ColumnProfile:
    if not _all_match(values, _TIMESTAMP) or not _parses(values, pa.timestamp("us")):
        return _TEXT
    if not _are_dates(pc.utf8_slice_codeunits(values, 0, _DATE_LENGTH)):
        return _TEXT
    lengths, separators = np.unique(_lengths(values)), np.unique(_characters(values, _DATE_LENGTH))
    if len(separators) > 1:
        # No single format would reproduce each text.
        return _TEXT
    fraction = int(lengths[0]) - _SECONDS_LENGTH - 1 if len(lengths) == 1 else None
    return ColumnProfile(Kind.TIMESTAMP, format=timestamp_format(chr(separators[0]), fraction))


def timestamp_format(separator: str, fraction: int | None) -> str:
    """The format of timestamps with `separator` between date and time and `fraction` digits after the seconds.

    A negative number means none, None means varying numbers of digits.
    """
    seconds = f"{ISO_DATE}{separator}%H:%M:%S"
    if fraction is None:
        return f"{seconds}{ANY_FRACTION}"
    return f"{seconds}.%{fraction}f" if fraction > 0 else seconds


def _are_dates(values: pa.StringArray) -> bool:
    # Arrow accepts the year 0000, which no SQL server has.
    return (
        bool(np.all(_lengths(values) == _DATE_LENGTH))
        and _parses(values, pa.date32())
        and not (np.any(_characters(values, 0) == ord("0")) and pc.any(pc.starts_with(values, "0000")).as_py())
    )


def with_dashes(values: pa.StringArray) -> pa.StringArray:
    """Dates such as `20260131` as `2026-01-31`."""
    year_month = pc.utf8_replace_slice(values, 6, 6, "-")
    return pc.utf8_replace_slice(year_month, 4, 4, "-")


def _all_match(values: pa.StringArray, pattern: str) -> bool:
    return pc.all(pc.match_substring_regex(values, pattern)).as_py() is True


def _parses(values: pa.StringArray, type_: pa.DataType) -> bool:
    try:
        convert(values, type_)
    except pa.ArrowInvalid:
        return False
    return True


def _max_length(values: pa.StringArray) -> int:
    """The length of the longest value in UTF-16 code units, as SQL Server counts; 0 if there is none."""
    lengths, data = _lengths(values), _bytes_of(values)
    if not len(data) or data.max() < _BEYOND_ASCII:
        return int(lengths.max(initial=0))
    # Continuation bytes do not count; a character of four bytes is two code units.
    units = ((data & _CONTINUATION_MASK) != _CONTINUATION).astype(np.int64) + (data >= _FOUR_BYTES)
    total = np.concatenate(([0], np.cumsum(units)))
    ends = np.cumsum(lengths)
    return int((total[ends] - total[ends - lengths]).max())


def _buffer(values: pa.StringArray, number: int) -> memoryview:
    """Buffer 1 of a string array holds offsets, 2 the bytes (Arrow's columnar format); empty ones may be missing."""
    buffer = values.buffers()[number]
    return memoryview(b"") if buffer is None else memoryview(buffer)


def _offsets(values: pa.StringArray) -> np.ndarray:
    return np.frombuffer(_buffer(values, 1), dtype=np.int32)[values.offset : values.offset + len(values) + 1]


def _bytes_of(values: pa.StringArray) -> np.ndarray:
    offsets = _offsets(values)
    return np.frombuffer(_buffer(values, 2), dtype=np.uint8)[offsets[0] : offsets[-1]]


def _starts(values: pa.StringArray) -> np.ndarray:
    """The position of each value's first byte in `_bytes_of`."""
    offsets = _offsets(values)
    return (offsets[:-1] - offsets[0]).astype(np.int64)


def _lengths(values: pa.StringArray) -> np.ndarray:
    return np.diff(_offsets(values)).astype(np.int64)


def _characters(values: pa.StringArray, position: int | np.ndarray) -> np.ndarray:
    """The byte at `position` of each value; meaningless if a value is shorter."""
    data = np.frombuffer(_buffer(values, 2), dtype=np.uint8)
    return data[np.minimum(_offsets(values)[:-1] + position, len(data) - 1)]
