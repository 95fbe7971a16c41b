"""The key of a dataset: which columns it is, and that each row of a file has one of its own.

Here: the questions to the staging table. Not here: what is done with rows whose key comes again (see load).
"""

from collections.abc import Sequence

from sqlalchemy import Connection, Table, func, or_, select

from qt_pipeline.tabular import ROW_COLUMN, Contract
from qt_pipeline.warehouse.errors import DuplicateKeyError

_SHOWN = 10


def key_names(headers: Sequence[str], contract: Contract, dataset_id: str) -> list[str]:
    """The columns of a key, which the catalog gives by their headers.

    Raises:
        DuplicateKeyError: the file has no column of such a header.
    """
    names = {column.header: column.name for column in contract.columns}
    missing = [header for header in headers if header not in names]
    if missing:
        raise DuplicateKeyError(
            f"The file has no column {', '.join(map(repr, missing))}, which the catalog names as the key.",
            todo="Correct the 'key' of the dataset in the catalog: it takes headers as the file has them.",
            dataset_id=dataset_id,
        )
    return [names[header] for header in headers]


def check_key(connection: Connection, stage: Table, names: Sequence[str], dataset_id: str) -> None:
    """Return if each staged row has a key that no other has.

    Raises:
        DuplicateKeyError: the lines of the file whose key is blank or comes twice, the first few of them.
    """
    row = stage.c[ROW_COLUMN]
    blank = select(row).where(or_(*(stage.c[name].is_(None) for name in names))).order_by(row)
    lines = list(connection.scalars(blank.limit(_SHOWN)))
    if lines:
        some = f"Line {lines[0]} of the file has" if len(lines) == 1 else f"Lines {_listed(lines)} of the file have"
        raise _bad_key(f"{some} no value in the key", names, dataset_id)
    keys = [stage.c[name] for name in names]
    # The database compares, so that its collation says what is equal.
    twice = select(func.min(row), func.max(row)).group_by(*keys).having(func.count() > 1).order_by(func.max(row))
    pairs = [f"{first} and {last}" for first, last in connection.execute(twice.limit(_SHOWN))]
    if pairs:
        raise _bad_key(f"Lines {_listed(pairs)} of the file have the same key", names, dataset_id)


def _listed(things: Sequence[object]) -> str:
    return ", ".join(map(str, things))


def _bad_key(what: str, names: Sequence[str], dataset_id: str) -> DuplicateKeyError:
    return DuplicateKeyError(
        f"{what} ({_listed([repr(name) for name in names])}).",
        todo="Correct the dataset at its source, or its 'key' in the catalog. The table keeps its rows.",
        dataset_id=dataset_id,
    )
