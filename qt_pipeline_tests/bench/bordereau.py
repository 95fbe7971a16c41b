"""Generated bordereaux of any size for the benchmarks: 20 columns, about 175 bytes a row.

Here: what is in them, the same at each call. Not here: values made to trip a loader over (see the sandbox's own).
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

HEADERS = (
    *("Policy Number", "Insured Name", "Inception Date", "Expiry Date", "Class", "Country", "Postcode", "Vehicles"),
    *("Underwriting Year", "Cancelled", "Gross Premium", "Net Premium", "Sum Insured", "Deductible", "Commission"),
    *("Tax", "Paid", "Outstanding", "Broker", "Notes"),
)
SQL_TYPES = (
    *("text", "text", "date", "date", "text", "text", "text", "bigint", "bigint", "boolean"),
    *(("numeric",) * 8),
    *("text", "text"),
)
"""What a person would give the columns by hand, for the loaders that type nothing."""

_SEED = 20260724
_ROWS_AT_ONCE = 200_000


def write_bordereau(file: Path, rows: int) -> None:
    """Write a CSV file with this many rows."""
    random = np.random.default_rng(_SEED)
    with file.open("wb") as stream:
        stream.write((",".join(HEADERS) + "\n").encode())
        for first in range(0, rows, _ROWS_AT_ONCE):
            lines = _lines(random, first, min(_ROWS_AT_ONCE, rows - first))
            stream.write("".join(lines.to_pylist()).encode())


def _lines(random: np.random.Generator, first: int, count: int) -> pa.Array:
    days = np.datetime64("2020-01-01") + random.integers(0, 2000, count)

    def money(most: int) -> pa.Array:
        pence = random.integers(-most, most * 100, count)
        return pa.array([f"{amount / 100:.2f}" for amount in pence.tolist()])

    def one_of(*texts: str) -> pa.Array:
        return pa.array(texts).take(pa.array(random.integers(0, len(texts), count)))

    def text(numbers: np.ndarray) -> pa.Array:
        return pc.cast(pa.array(numbers), pa.string())

    columns = [
        pa.array([f"P{number:08d}" for number in range(first, first + count)]),
        pc.binary_join_element_wise("Insured ", text(random.integers(0, 50_000, count)), ""),
        pa.array(np.datetime_as_string(days)),
        pa.array(np.datetime_as_string(days + 364)),
        one_of("Property", "Casualty", "Marine", "Motor", "Aviation"),
        one_of("GB", "US", "DE", "FR", "JP"),
        pa.array([f"{number:05d}" for number in random.integers(0, 99_999, count).tolist()]),
        text(random.integers(0, 100, count)),
        text(random.integers(2000, 2027, count)),
        one_of("true", "false"),
        *(money(most) for most in (500_000, 400_000, 90_000_000, 10_000, 50_000, 9_999, 99_999, 99_999)),
        one_of('"Broker, Sons"', '"The ""Best"" Brokers"', "Gamma Broking"),
        one_of("", "renewal", '"new, see file"'),
    ]
    return pc.binary_join_element_wise(pc.binary_join_element_wise(*columns, ","), "\n", "")
