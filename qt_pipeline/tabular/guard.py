"""What a CSV file must be, byte by byte, before any value of it is believed (RFC 4180).

Here: the strict rules that Arrow's reader does not hold (quotes, blank lines, NUL), checked at memory speed while the
bytes pass by; and, once any reader has refused a file, the slow search for the place.
Not here: cutting bytes into values (see reader).
"""

import csv
import sys
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from qt_pipeline.errors import PermanentError

_COMMA, _QUOTE, _LF, _CR = (ord(c) for c in ',"\n\r')
_NOWHERE = np.empty(0, dtype=np.int64)
_BESIDE_QUOTE = np.isin(np.arange(256), (_COMMA, _QUOTE, _LF, _CR))
_KEEP = "Nothing was loaded; the table keeps its rows. Correct the file at its source and publish it again."

Places = np.ndarray[tuple[int], np.dtype[np.int64]]
Fault = tuple[int, str]
"""A place in the bytes at hand, and what is wrong there."""


class BadCsvError(PermanentError):
    """The file is not a CSV file that can be read without guessing.

    `line` counts from 1 at the header, `byte` from 0; both name the place in the file as it was landed.
    """

    def __init__(self, reason: str, *, line: int, byte: int) -> None:
        self.reason = reason
        self.line = line
        self.byte = byte
        super().__init__(f"The file is not valid CSV at line {line}, byte {byte}: {reason}.", todo=_KEEP)


def count_lines(data: bytes) -> int:
    r"""How many line ends (`\n`, `\r\n` or a lone `\r`) are in `data`."""
    carriage_returns = data.count(b"\r")
    return data.count(b"\n") + (carriage_returns - data.count(b"\r\n") if carriage_returns else 0)


class CsvGuard:
    """Checks the bytes after the header as they pass by; raises `BadCsvError` at the first that breaks a rule.

    RFC 4180 allows a quote only around a whole value and doubled inside one. A reader that is lenient about this turns
    `"a"b` into `ab` or takes the rest of the file for one value, without a word.
    """

    def __init__(self, *, first_line: int, first_byte: int, columns: int) -> None:
        self._line = first_line
        self._byte = first_byte
        self._blank_line_is_a_row = columns == 1
        self._before = b"\n"
        self._held = b""
        self._in_quotes = False
        self._opened = (first_line, first_byte)

    def feed(self, chunk: bytes) -> None:
        """Check the next bytes of the file."""
        data = self._held + chunk
        # What a quote or a carriage return means shows only with the byte that follows it.
        split = len(data) - (data[-1:] in (b'"', b"\r"))
        self._held = data[split:]
        self._check(data[:split], after=data[split : split + 1])

    def finish(self) -> None:
        """Check what only the end of the file can tell."""
        self._check(self._held, after=b"\n")
        self._held = b""
        if self._in_quotes:
            line, byte = self._opened
            raise BadCsvError("the quote that opens here is never closed", line=line, byte=byte)

    def _check(self, data: bytes, *, after: bytes) -> None:
        if not data:
            return
        window = self._before + data + after
        quotes = np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == _QUOTE) if b'"' in data else _NOWHERE
        faults = [*_nul(data), *self._misplaced_quote(quotes, window)]
        if not self._blank_line_is_a_row:
            faults += self._blank_line(quotes, self._before + data)
        if faults:
            # The first place is also the surest: a misplaced quote turns inside and outside about for all that follows.
            place, reason = min(faults)
            raise BadCsvError(reason, line=self._line + count_lines(data[:place]), byte=self._byte + place)
        if quotes.size:
            self._in_quotes ^= bool(quotes.size % 2)
            if self._in_quotes:
                opened = int(quotes[-1])
                self._opened = (self._line + count_lines(data[:opened]), self._byte + opened)
        self._before = data[-1:]
        self._line += count_lines(data)
        self._byte += len(data)

    def _misplaced_quote(self, quotes: Places, window: bytes) -> list[Fault]:
        if not quotes.size:
            return []
        # While every quote stands where RFC 4180 allows it, they open and close in turn (`""` closes and opens again).
        codes = np.frombuffer(window, dtype=np.uint8)
        opening, closing = quotes[int(self._in_quotes) :: 2], quotes[int(not self._in_quotes) :: 2]
        stray = opening[~_BESIDE_QUOTE[codes[opening]]]
        loose = closing[~_BESIDE_QUOTE[codes[closing + 2]]]
        reason = "a quote inside a value that is not quoted, or more text after a closing quote"
        return [(int(place), reason) for place in (*stray[:1], *loose[:1])]

    def _blank_line(self, quotes: Places, window: bytes) -> list[Fault]:
        if not any(pair in window for pair in ((b"\n\n", b"\n\r", b"\r\r") if b"\r" in window else (b"\n\n",))):
            return []
        codes = np.frombuffer(window, dtype=np.uint8)
        ends, starts = codes[:-1], codes[1:]
        blank = np.flatnonzero(
            ((ends == _LF) & ((starts == _LF) | (starts == _CR))) | ((ends == _CR) & (starts == _CR))
        )
        outside = blank[(np.searchsorted(quotes, blank) + self._in_quotes) % 2 == 0]
        return [(int(place), "a blank line") for place in outside[:1]]


def _nul(data: bytes) -> list[Fault]:
    place = data.find(b"\0")
    return [(place, "a NUL character")] if place >= 0 else []


def locate_fault(stream: BinaryIO, columns: int) -> BadCsvError | None:
    """Read a refused file again, slowly, and name the first row that has the wrong width or is not UTF-8."""
    place = _Place()
    rows = csv.reader(place.decoded_lines(stream), strict=True)
    usual_limit = csv.field_size_limit(sys.maxsize)
    try:
        for row in rows:
            if len(row) != columns and (row or columns > 1):
                reason = f"the row has {len(row)} values, the header has {columns}"
                return BadCsvError(reason, line=place.row_line, byte=place.row_byte)
            place.row_ends()
    except UnicodeDecodeError as error:
        reason = "bytes that are not UTF-8"
        return BadCsvError(reason, line=place.line, byte=place.line_byte + error.start)
    except csv.Error:
        return BadCsvError("a quote that is misplaced or never closed", line=place.row_line, byte=place.row_byte)
    finally:
        csv.field_size_limit(usual_limit)
    return None


class _Place:
    """Where the slow search stands: the line it reads and the row that line belongs to."""

    def __init__(self) -> None:
        self.line = 0
        self.line_byte = 0
        self.row_line = 1
        self.row_byte = 0
        self._next_byte = 0

    def decoded_lines(self, stream: BinaryIO) -> Iterator[str]:
        # A stream ends its lines at `\n` alone; the reader of rows must see a lone `\r` as an end too.
        for raw in (line for part in stream for line in part.splitlines(keepends=True)):
            self.line += 1
            self.line_byte = self._next_byte
            self._next_byte += len(raw)
            yield raw.decode("utf-8-sig" if self.line == 1 else "utf-8")

    def row_ends(self) -> None:
        self.row_line = self.line + 1
        self.row_byte = self._next_byte
