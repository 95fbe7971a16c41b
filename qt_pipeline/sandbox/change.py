"""Create the next version of a dataset: a small, deterministic edit of its CSV file.

Here: which rows change and how. Columns and kinds of values stay, so that the next load keeps the contract.
Not here: versions and their numbers (see state).
"""

import re

_ROWS_CHANGED = 100
_ROWS_ADDED = 10

# On bytes and record by record, instead of a CSV reader and writer, so that all else keeps its exact quoting.
_RECORD = re.compile(rb'(?:[^"\n]++|"[^"]*+"?+)++\n?|\n')
_AMOUNT = re.compile(rb"(?<![^,])-?\d+\.\d+(?![^,\r\n])")
# Never to 0: "-0.1" must not become a minus zero.
_ANOTHER_DIGIT = bytes.maketrans(b"0123456789", b"1234567898")


def changed_csv(csv: bytes, version: int) -> bytes:
    """`csv` as its version number `version` would be: about a hundred rows differ, and the first ten of them recur.

    In each such row the first cell that is an amount (a number with a decimal point) gets another last digit.
    The copies come at the end. A file without rows stays as it is.
    """
    records: list[bytes] = _RECORD.findall(csv)
    header, rows = records[:1], records[1:]
    if not rows:
        return csv
    if not rows[-1].endswith(b"\n"):
        rows[-1] += b"\r\n" if header[0].endswith(b"\r\n") else b"\n"
    step = max(1, len(rows) // _ROWS_CHANGED)
    touched = range(version % step, len(rows), step)
    for index in touched:
        rows[index] = _AMOUNT.sub(_with_another_last_digit, rows[index], count=1)
    return b"".join([*header, *rows, *(rows[index] for index in touched[:_ROWS_ADDED])])


def _with_another_last_digit(amount: re.Match[bytes]) -> bytes:
    return amount[0][:-1] + amount[0][-1:].translate(_ANOTHER_DIGIT)
