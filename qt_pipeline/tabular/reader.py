"""Read CSV bytes as batches of text, every value exactly as in the file.

Here: the header, Arrow's streaming reader with inference disabled, the line number of each row.
Not here: types (see infer and rows).
"""

import io
import re
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, cast

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from qt_pipeline.errors import PermanentError
from qt_pipeline.tabular.arrow import Ints, substring_counts, texts_of
from qt_pipeline.tabular.guard import BadCsvError, CsvGuard, locate_fault
from qt_pipeline.tabular.lines import BYTE_ORDER_MARK, count_lines, marks_length

OpenStream = Callable[[], BinaryIO]
"""Opens the same file from its beginning on every call."""

_OTHER_SEPARATORS = {";": "';'", "\t": "tabs", "|": "'|'"}
_LINE_END = re.compile(rb"\r\n?|\n")
_VALUE = re.compile(r'(?:^|,)(?:"([^"]*+(?:""[^"]*+)*+)"|([^,]*+))')
HEAD_BYTES = 1 << 20
"""How many bytes are read at once for the header."""
_HEADER_LIMIT = 4 << 20
_SPARE_BYTES = len(BYTE_ORDER_MARK) + len(b"\r")
BLOCK_SIZES = (1 << 20, 64 << 20)
"""Bytes parsed at a time, smallest first. A row must fit into one block."""


@dataclass(frozen=True, slots=True)
class Header:
    """The first record of a file: its names verbatim, and where the rows begin."""

    names: tuple[str, ...]
    rows_byte: int
    rows_line: int


@dataclass(frozen=True, slots=True)
class TextBatch:
    """A batch of rows: one string array per column (a blank is null), and the line on which each row begins."""

    columns: tuple[pa.StringArray, ...]
    lines: Ints

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(self.lines)


class EmptyFileError(PermanentError):
    """The file has no bytes and so no header."""

    def __init__(self) -> None:
        super().__init__("The file is empty: it has no header.", hint="The table keeps its rows.")


class TooManyColumnsError(PermanentError):
    """The file has more columns than a table of the target can have."""

    def __init__(self, columns: int, max_columns: int) -> None:
        super().__init__(
            f"The file has {columns:,} columns; a table of the target has at most {max_columns:,}.",
            hint="Leave out columns at the source. The table keeps its rows.",
        )


class RowTooLongError(PermanentError):
    """A single row is larger than the largest block."""

    def __init__(self, block_size: int) -> None:
        super().__init__(f"The file has a row longer than {block_size >> 20} MiB.", hint="The table keeps its rows.")


def read_header(open_stream: OpenStream) -> Header:
    """Read the header record.

    Raises:
        EmptyFileError: the file has no bytes.
        BadCsvError: the header is not UTF-8, not closed, or longer than 4 MiB.
    """
    return read_beginning(open_stream)[0]


def read_beginning(open_stream: OpenStream) -> tuple[Header, bytes]:
    """The header record and the first bytes of the file, in one read: at least a MiB, or the whole file.

    Raises: see `read_header`.
    """
    with open_stream() as stream:
        head = b""
        end = -1
        while end < 0:
            chunk = read_fully(stream, HEAD_BYTES)
            head += chunk
            end = _end_of_record(head, complete=not chunk)
            if end < 0 and len(head) > _HEADER_LIMIT:
                raise BadCsvError("the header does not end within 4 MiB, or its quotes are not closed", line=1, byte=0)
    record = head[:end]
    first_byte = marks_length(record)
    bare = record[first_byte:]
    if not bare:
        raise EmptyFileError
    with _naming_separator(bare.decode(errors="replace")):
        guard = CsvGuard(first_line=1, first_byte=first_byte, columns=2)
        guard.feed(bare)
        guard.finish()
        try:
            text = bare.decode()
        except UnicodeDecodeError as error:
            line = 1 + count_lines(bare[: error.start])
            raise BadCsvError("bytes that are not UTF-8", line=line, byte=first_byte + error.start) from None
    header = Header(names=values_of(text), rows_byte=end, rows_line=1 + max(1, count_lines(record)))
    return header, head


def check_width(header: Header, max_columns: int) -> None:
    """Reject a file with more columns than a table can have, before its rows are read.

    Raises:
        TooManyColumnsError: there are more than `max_columns`.
    """
    if len(header.names) > max_columns:
        raise TooManyColumnsError(len(header.names), max_columns)


def values_of(record: str) -> tuple[str, ...]:
    """The values of a record that the guard accepted, including its line end.

    Not the csv module: it limits the length of a value by a process-wide setting that another thread may change.
    """
    values = _VALUE.finditer(record.rstrip("\r\n"))
    return tuple(value[2] if value[1] is None else value[1].replace('""', '"') for value in values)


def _end_of_record(head: bytes, *, complete: bool) -> int:
    """Where the first record ends, including its line end; -1 while that is unknown."""
    quotes = start = 0
    for line_end in _LINE_END.finditer(head):
        quotes += head.count(b'"', start, line_end.start())
        start = line_end.start()
        if quotes % 2 == 0:
            may_grow = line_end[0] == b"\r" and line_end.end() == len(head) and not complete
            return -1 if may_grow else line_end.end()
    return len(head) if complete else -1


def read_text(
    open_stream: OpenStream, header: Header, *, block_size: int = BLOCK_SIZES[-1], checked: bool = False
) -> Iterator[TextBatch]:
    """Read the rows after `header` as text, `block_size` bytes at a time.

    `checked`: an earlier read of the same bytes has passed the strict checks.

    Raises:
        BadCsvError: a row of another width, bytes that are not UTF-8, misplaced quotes, NUL; with line and byte.
        RowTooLongError: a row does not fit into a block.
    """
    with _naming_separator(",".join(header.names)):
        try:
            with open_stream() as stream:
                read_fully(stream, header.rows_byte)
                source = _GuardedSource(stream, None if checked else _guard(header))
                if not source.is_empty:
                    yield from _batches(source, header, block_size)
        except pa.ArrowInvalid as error:
            # Arrow's message quotes the row, and rows hold personal data: report only the position.
            raise _explain(open_stream, header, error, block_size) from None


@contextmanager
def _naming_separator(header: str) -> Generator[None]:
    """Name the likely separator. Otherwise the errors for such a file complain about correct widths and quotes."""
    try:
        yield
    except BadCsvError as error:
        likeliest = max(_OTHER_SEPARATORS, key=header.count)
        if header.count(likeliest) > header.count(","):
            name = _OTHER_SEPARATORS[likeliest]
            error.hint = f"Its header seems to be separated by {name}: only commas are read. {error.hint}"
        raise


def _guard(header: Header) -> CsvGuard:
    return CsvGuard(first_line=header.rows_line, first_byte=header.rows_byte, columns=len(header.names))


def _batches(source: "_GuardedSource", header: Header, block_size: int) -> Iterator[TextBatch]:
    names = [str(position) for position in range(len(header.names))]
    reader = pacsv.open_csv(
        cast("BinaryIO", source),
        read_options=pacsv.ReadOptions(column_names=names, block_size=block_size + _SPARE_BYTES),
        parse_options=pacsv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        convert_options=pacsv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
        ),
    )
    line = header.rows_line
    for batch in reader:
        lines, line = _line_numbers(batch, line)
        yield TextBatch(columns=texts_of(batch), lines=lines)


class _GuardedSource(io.RawIOBase):
    """The bytes of the rows, checked by the guard on their way to Arrow.

    Arrow strips a byte order mark from the beginning of any stream. It gets an extra one, so that a U+FEFF that begins
    the first row remains data. Arrow also drops an LF that begins a buffer if the previous buffer ended in CR, even
    within quotes, so no buffer but the last ends in CR. Both need `_SPARE_BYTES` in a block.
    """

    def __init__(self, stream: BinaryIO, guard: CsvGuard | None) -> None:
        self._stream = stream
        self._guard = guard
        self._mark = BYTE_ORDER_MARK
        self._held = stream.read(1)
        self.is_empty = not self._held

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if size < 0:
            return self.readall()
        mark, self._mark = self._mark, b""
        missing = max(2, size - len(mark) - len(self._held))
        fresh = read_fully(self._stream, missing)
        data = self._held + fresh
        is_last = len(fresh) < missing
        self._held = b"\r" if data.endswith(b"\r") and not is_last else b""
        data = data.removesuffix(self._held)
        if self._guard is not None:
            if data:
                self._guard.feed(data)
            else:
                self._guard.finish()
        return mark + data


def read_fully(stream: BinaryIO, size: int) -> bytes:
    """Read `size` bytes, or fewer only at the end of the file: a single read of a stream may return less."""
    data = stream.read(size)
    if not data or len(data) == size:
        return data
    chunks = [data]
    missing = size - len(data)
    while missing and (chunk := stream.read(missing)):
        chunks.append(chunk)
        missing -= len(chunk)
    return b"".join(chunks)


def _line_numbers(batch: pa.RecordBatch, first: int) -> tuple[Ints, int]:
    """The line on which each row begins, and the line after the last row."""
    lines = np.arange(first, first + batch.num_rows + 1, dtype=np.int64)
    for column in texts_of(batch):
        data = column.buffers()[2]
        text = data.to_pybytes() if data is not None else b""
        if b"\n" in text or b"\r" in text:
            lines[1:] += np.cumsum(_line_ends_within(column))
    return lines[:-1], int(lines[-1])


def _line_ends_within(values: pa.StringArray) -> Ints:
    feeds, returns, pairs = (substring_counts(values, pattern) for pattern in ("\n", "\r", "\r\n"))
    return feeds + returns - pairs


def _explain(open_stream: OpenStream, header: Header, error: pa.ArrowInvalid, block_size: int) -> PermanentError:
    if "straddling" in str(error):
        return RowTooLongError(block_size)
    with open_stream() as stream:
        fault = locate_fault(stream, len(header.names))
    return fault or PermanentError("The file cannot be read as CSV.", hint="The table keeps its rows.")
