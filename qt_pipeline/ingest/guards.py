"""Limits that the catalog and the settings place on a file: row counts, required columns and values.

Here: each guard and its error. Not here: keys, which the target compares (see warehouse), types (see tabular).
"""

from collections.abc import Iterable, Iterator

from qt_pipeline.catalog import Dataset
from qt_pipeline.errors import PermanentError
from qt_pipeline.tabular import Contract, Rows, header_key, header_keys
from qt_pipeline.warehouse import LoadRecord


class NoRowsError(PermanentError):
    """The file has a header and no rows, and the catalog does not say that this empties the table."""


class TooManyRowsError(PermanentError):
    """The file has more rows than any dataset may have here."""


class TooFewRowsError(PermanentError):
    """The file has fewer rows than the catalog lets a file of this dataset have."""


class RequiredValueError(PermanentError):
    """A row has no value in a column in which the catalog wants one."""


def check_rows(dataset: Dataset, rows: int, last: LoadRecord | None) -> None:
    """Hold the number of rows of a file against what the catalog lets a file of its dataset have.

    Raises:
        NoRowsError: there are none, and an empty file is to keep the table.
        TooFewRowsError: they are fewer than `min_rows`, or dropped by more than `max_drop_percent`.
    """
    if rows == 0 and dataset.empty == "keep":
        raise NoRowsError(
            "The file has a header and no rows. The table keeps its rows.",
            hint="If that is right for this dataset, set 'empty: replace' for it in the catalog.",
        )
    if dataset.min_rows is not None and rows < dataset.min_rows:
        raise TooFewRowsError(
            f"The file has {rows} rows; the catalog expects at least {dataset.min_rows}. The table keeps its rows.",
            hint="If that is right this time, lower 'min_rows' of the dataset in the catalog and load again.",
        )
    if dataset.max_drop_percent is not None and last is not None and last.rows:
        drop = 100 * (last.rows - rows) / last.rows
        if drop > dataset.max_drop_percent:
            raise TooFewRowsError(
                f"The file has {rows} rows, {drop:.1f} % fewer than the {last.rows} before; the catalog allows "
                f"{dataset.max_drop_percent:g} %. The table keeps its rows.",
                hint="If that is right this time, raise 'max_drop_percent' of the dataset in the catalog.",
            )


def check_headers(dataset: Dataset, contract: Contract) -> None:
    """Hold the columns of a file against those that the catalog requires.

    Raises:
        RequiredValueError: one is not there at all.
    """
    present = header_keys(column.header for column in contract.columns)
    missing = [header for header in dataset.required if header_key(header) not in present]
    if missing:
        raise RequiredValueError(
            f"The file has no column {', '.join(map(repr, missing))}, which the catalog requires. "
            "The table keeps its rows.",
            hint="Correct the dataset at its source, or 'required' in the catalog: it takes headers as the file has "
            "them.",
        )


def absent_columns(dataset: Dataset, contract: Contract) -> tuple[str, ...]:
    """Columns of the catalog that neither file nor table has, in sentences: perhaps a slip, perhaps they come later."""
    present = header_keys(column.header for column in contract.columns)
    return tuple(
        f"The catalog declares the column {header!r}, which the file does not have."
        for header, column in dataset.columns.items()
        if header_key(header) not in present and not column.required
    )


def guarded(dataset: Dataset, max_rows: int | None, rows: Iterable[Rows]) -> Iterator[Rows]:
    """Pass the rows through while they are not too many and every required value is present.

    Raises:
        TooManyRowsError: there are more than `max_rows`.
        RequiredValueError: a row has no value where the catalog requires one.
    """
    count = 0
    for batch in rows:
        count += len(batch)
        if max_rows is not None and count > max_rows:
            raise TooManyRowsError(
                f"The file has more than {max_rows:,} rows. The table keeps its rows.",
                hint="If that is right for this dataset, raise QT_MAX_ROWS and load again.",
            )
        _check_values(dataset, batch)
        yield batch


def _check_values(dataset: Dataset, rows: Rows) -> None:
    if not dataset.required:
        return
    required = header_keys(dataset.required)
    for column, texts in zip(rows.contract.columns, rows.texts, strict=True):
        if texts.null_count and header_key(column.header) in required:
            line = rows.lines[texts.is_null().index(True).as_py()]
            raise RequiredValueError(
                f"Line {line} of the file has no value in the column {column.header!r}, which the catalog requires. "
                "The table keeps its rows.",
                hint="Correct the dataset at its source, or remove 'required' from the column in the catalog.",
            )
