"""Convert batches of text to typed rows, in the order and types of a contract.

Here: the conversion, and the single pass that profiles and converts a file under an assumed contract.
Not here: how a contract is decided (see drift), how a target stores a type (see warehouse).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from qt_pipeline.tabular.arrow import Array, Ints, convert, nulls
from qt_pipeline.tabular.contract import Contract
from qt_pipeline.tabular.declared import normalize
from qt_pipeline.tabular.drift import holds
from qt_pipeline.tabular.infer import with_dashes
from qt_pipeline.tabular.profiler import Expected, FileProfile, Profiler
from qt_pipeline.tabular.reader import Header, OpenStream, RowTooLongError, read_text
from qt_pipeline.tabular.types import COMPACT_DATE, ColumnType, Kind


@dataclass(frozen=True, slots=True)
class Rows:
    """A batch of rows under a contract. `lines` are the lines on which the rows begin.

    `texts` are the values in the contract's order as canonical text: numbers and booleans unchanged, dates and
    timestamps in ISO format, a blank as null.
    """

    contract: Contract
    texts: tuple[pa.StringArray, ...]
    lines: Ints
    _converted: dict[tuple[int, int], Array] = field(
        default_factory=dict[tuple[int, int], Array], repr=False, compare=False
    )

    def __len__(self) -> int:
        return len(self.lines)

    def values(self, position: int) -> Array:
        """The values of one column in its type, converted on demand."""
        return self._as(position, self.contract.columns[position].type.arrow)

    def floats(self, position: int) -> Array:
        """The values of a decimal column as binary floats: exact up to 15 digits, and much faster to make.

        Converted from text, which rounds correctly; Arrow's conversion from decimal to float does not.
        """
        return self._as(position, pa.float64())

    def _as(self, position: int, type_: pa.DataType) -> Array:
        key = position, type_.id
        if key not in self._converted:
            self._converted[key] = convert(self.texts[position], type_)
        return self._converted[key]


class SpeculationFailedError(Exception):
    """The file breaks the contract that was assumed for it: it must be profiled as a whole."""


class SpeculativeReader:
    """Reads a file in one pass under an assumed contract: each batch is profiled before it is converted.

    Most files keep the contract of the previous file, and are read once instead of twice.
    """

    def __init__(
        self, open_stream: OpenStream, header: Header, expected: Expected, assumed: Contract, *, block_size: int
    ) -> None:
        self._open_stream = open_stream
        self._header = header
        self._assumed = assumed
        self._block_size = block_size
        self._is_new = [type_ is None or type_.kind is Kind.UNKNOWN for type_ in expected]
        self._profiler = Profiler(header, expected)

    def rows(self) -> Iterator[Rows]:
        """The rows of the file.

        Raises:
            SpeculationFailedError: the assumed contract cannot hold a value.
            BadCsvError: the file breaks a rule of CSV; with line and byte.
        """
        positions = self._assumed.positions(self._header.names)
        kept = [(c.type, i) for c, i in zip(self._assumed.columns, positions, strict=True) if i is not None]
        new_numbers = [i for type_, i in kept if type_.kind in (Kind.INTEGER, Kind.DECIMAL) and self._is_new[i]]
        try:
            for batch in read_text(self._open_stream, self._header, block_size=self._block_size):
                columns = self._profiler.add(batch)
                seen = self._profiler.seen
                holds_all = all(holds(type_, seen[i]) for type_, i in kept)
                if not holds_all or any(seen[i].needs_text for i in new_numbers):
                    raise SpeculationFailedError
                yield _rows(self._assumed, positions, columns, batch.lines)
        except RowTooLongError:
            # Perhaps only at this block size: a full profile also tries the larger one.
            raise SpeculationFailedError from None

    @property
    def profile(self) -> FileProfile:
        """The profile so far; of the whole file once `rows` is exhausted."""
        return self._profiler.profile(self._block_size)


def read_rows(open_stream: OpenStream, file_profile: FileProfile, contract: Contract) -> Iterator[Rows]:
    """Read a profiled file again, under the contract resolved for it."""
    positions = contract.positions(file_profile.header.names)
    for batch in read_text(open_stream, file_profile.header, block_size=file_profile.block_size, checked=True):
        columns = [
            values if type_ is None or type_.is_canonical else normalize(values, type_)
            for values, type_ in zip(batch.columns, file_profile.expected, strict=True)
        ]
        yield _rows(contract, positions, columns, batch.lines)


def _rows(contract: Contract, positions: Sequence[int | None], columns: Sequence[pa.StringArray], lines: Ints) -> Rows:
    texts = (
        _iso(columns[position], column.type) if position is not None else nulls(len(lines))
        for column, position in zip(contract.columns, positions, strict=True)
    )
    return Rows(contract, tuple(texts), lines)


def _iso(values: pa.StringArray, type_: ColumnType) -> pa.StringArray:
    return with_dashes(values) if type_.kind is Kind.DATE and type_.format == COMPACT_DATE else values
