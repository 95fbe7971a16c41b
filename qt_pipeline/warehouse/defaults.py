"""Column defaults that change with the type of their column.

Here: which conversions a server makes itself, the value of a literal default, the error. Not here: SQL of a server.
"""

import re
from collections.abc import Sequence

from qt_pipeline.tabular import Kind
from qt_pipeline.warehouse.errors import ColumnDefaultError
from qt_pipeline.warehouse.target import TypeChange

_NUMBERS = {Kind.INTEGER, Kind.DECIMAL}
_TIMES = {Kind.DATE, Kind.TIMESTAMP}
# As servers write them: `'own'::text`, `5`, `('own')`, `(N'own')`, `((5))`.
_LITERAL = re.compile(r"\(*(?:N?'((?:[^']|'')*)'|(-?[0-9.]+|true|false))\)*(?:::[a-z0-9_ (),]+)?")


def converts_itself(change: TypeChange) -> bool:
    """Whether every default of the type before is a default of the type after."""
    kinds = {change.before.kind, change.after.kind}
    return change.after.kind in (Kind.TEXT, Kind.UNKNOWN) or kinds <= _NUMBERS or kinds <= _TIMES


def literal_value(expression: str) -> str | None:
    """The value of a default that is a literal, as text; None for any other expression."""
    match = _LITERAL.fullmatch(expression)
    if match is None:
        return None
    return match[2] if match[1] is None else match[1].replace("''", "'")


def check_defaults(changes: Sequence[TypeChange], *, table: str, dataset_id: str) -> None:
    """Check that the default of each column can be converted to its new type.

    Raises:
        ColumnDefaultError: a default cannot be converted.
    """
    unfit = [
        f"{change.column!r} has the default {change.default.before} and becomes {change.after}"
        for change in changes
        if change.default is not None and change.default.after is None
    ]
    if not unfit:
        return
    raise ColumnDefaultError(
        f"Columns of the table {table} have defaults that do not fit the types which the file needs: "
        f"{'; '.join(unfit)}. The table keeps its rows.",
        hint="Drop these defaults or set others, or declare in the catalog what these columns are.",
        dataset_id=dataset_id,
    )
