"""Schema drift: how a contract is created, and how it may change when a later file differs.

Here: the first types and their headroom, the widening of types, the policies. Pure rules.
Not here: the contract itself (see contract), profiling values (see profiler).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from qt_pipeline.tabular.contract import Column, Contract, DeclarationError, DriftError
from qt_pipeline.tabular.headers import ByHeader
from qt_pipeline.tabular.names import Naming, is_identifier, unique_names
from qt_pipeline.tabular.types import MAX_DIGITS, TEXT, ColumnProfile, ColumnType, Kind
from qt_pipeline.values import DriftPolicy

SHORT_DIGITS = 15
"""Decimals of up to this many digits survive a binary float; a first contract leaves headroom up to here."""

MAX_BOUND = 4000
"""The longest bounded text of SQL Server, in UTF-16 code units (NVARCHAR(4000))."""

_LENGTHS = (50, 100, 200, 500, 1000, 2000, MAX_BOUND)
_HEADROOM = 2
_NUMBERS = (Kind.INTEGER, Kind.DECIMAL)
_SECTIONS = "only zeros at the end tell some of its values apart, like the sections 3.1 and 3.10"
_NEGATIVE_ZERO = "some of its values are zeros with a minus sign, which a number would lose"


@dataclass(frozen=True, slots=True)
class SchemaRules:
    """The rules by which the columns of a file become those of a table.

    `declared` has the types that the catalog declares, by header. With `keeps_rows`, rows of earlier loads stay in the
    table, so its types must continue to hold them. `max_name_bytes` is the target's limit.
    """

    max_name_bytes: int
    policy: DriftPolicy = DriftPolicy.ADDITIVE
    naming: Naming = Naming.VERBATIM
    declared: Mapping[str, ColumnType] = field(default_factory=dict[str, ColumnType])
    keeps_rows: bool = False
    _by_header: ByHeader[ColumnType] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_header", ByHeader(self.declared))

    def declared_type(self, header: str) -> ColumnType | None:
        """The type that the catalog declares for a column with this header, if any."""
        return self._by_header.get(header)

    def expected(self, contract: Contract | None, headers: Sequence[str]) -> tuple[ColumnType | None, ...]:
        """The expected type of each column of a file with these `headers`; None for a new column."""
        expected = [self.declared_type(header) for header in headers]
        if contract is not None:
            for column, position in zip(contract.columns, contract.positions(headers), strict=True):
                if position is not None:
                    expected[position] = expected[position] or column.type
        return tuple(expected)


@dataclass(frozen=True, slots=True)
class SchemaChange:
    """A change from one contract to the next. No type before: a new column; no type after: a missing one."""

    column: str
    before: ColumnType | None
    after: ColumnType | None

    def __str__(self) -> str:
        if self.before is None:
            return f"new column {self.column!r} ({self.after})"
        if self.after is None:
            return f"column {self.column!r} is missing in the file and NULL in the table"
        return f"column {self.column!r} was {self.before} and is {self.after} now"


@dataclass(frozen=True, slots=True)
class ResolvedContract:
    """The contract under which a file is loaded, and its changes from the previous one."""

    contract: Contract
    changes: tuple[SchemaChange, ...] = ()
    warnings: tuple[str, ...] = ()


def resolve_contract(
    contract: Contract | None, headers: Sequence[str], seen: Sequence[ColumnProfile], rules: SchemaRules
) -> ResolvedContract:
    """Decide under which contract to load a file with these `headers`; `seen` is the profile of each column.

    Raises:
        DeclarationError: a declared type cannot hold the rows that stay.
        DriftError: the file differs in a way that the policy does not allow.
    """
    if contract is None:
        founded = _columns_by_header(headers, seen, rules)
        return ResolvedContract(founded, warnings=_ambiguous(zip(founded.columns, seen, strict=True), rules))
    positions = contract.positions(headers)
    _check_declared([column for column, at in zip(contract.columns, positions, strict=True) if at is not None], rules)
    new = contract.new_positions(headers)
    missing = [column for column, position in zip(contract.columns, positions, strict=True) if position is None]
    kept = [
        _next_type(column, seen[position], rules) if position is not None else column.type
        for column, position in zip(contract.columns, positions, strict=True)
    ]
    broken = {
        position: _as_declared(column, rules)
        for column, position, type_ in zip(contract.columns, positions, kept, strict=True)
        if position is not None and type_ is None
    }
    forbidden_new = new if rules.policy is DriftPolicy.FREEZE else ()
    forbidden_missing = missing if rules.policy is not DriftPolicy.EVOLVE else ()
    if broken or forbidden_new or forbidden_missing:
        raise DriftError(
            columns_missing=[column.header for column in forbidden_missing],
            # If a column is missing, a new one may be that column renamed.
            columns_new=[headers[position] for position in (new if forbidden_missing else forbidden_new)],
            columns_of_another_type=broken,
        )
    kept_columns = [
        replace(column, type=type_ or column.type) for column, type_ in zip(contract.columns, kept, strict=True)
    ]
    added = _columns_by_header(headers, seen, rules, beside=contract, positions=new).columns
    changes = [
        *(
            SchemaChange(a.name, a.type, b.type)
            for a, b in zip(contract.columns, kept_columns, strict=True)
            if a.type != b.type
        ),
        *(SchemaChange(column.name, column.type, None) for column in missing),
        *(SchemaChange(column.name, None, column.type) for column in added),
    ]
    first_values = [
        (column, seen[position])
        for before, column, position in zip(contract.columns, kept_columns, positions, strict=True)
        if before.type.kind is Kind.UNKNOWN and position is not None
    ]
    first_values += zip(added, [seen[position] for position in new], strict=True)
    warnings = _ambiguous(first_values, rules)
    return ResolvedContract(Contract((*kept_columns, *added)), tuple(changes), warnings)


def align_headers(contract: Contract, headers: Sequence[str], rules: SchemaRules) -> Contract:
    """A contract whose headers are column names, with the `headers` that give these names instead.

    For an adopted table, which existed before its first file: `Gross Premium` matches `gross premium`, and under
    snake_case also `gross_premium`.
    """
    names = unique_names(headers, max_bytes=rules.max_name_bytes, naming=rules.naming)
    by_name = ByHeader({name.casefold(): header for name, header in zip(names, headers, strict=True)})
    return Contract(
        tuple(replace(column, header=by_name.get(column.name.casefold()) or column.name) for column in contract.columns)
    )


def holds(type_: ColumnType, seen: ColumnProfile) -> bool:
    """Whether a column of exactly this type can hold every value of the profile unchanged."""
    return _widened(type_, seen) == type_


def may_hold(column: Column, seen: ColumnProfile, rules: SchemaRules) -> bool:
    """Whether a column can hold every value of the profile, in its type or one that it may widen to."""
    return _next_type(column, seen, rules) is not None


def _columns_by_header(
    headers: Sequence[str],
    seen: Sequence[ColumnProfile],
    rules: SchemaRules,
    *,
    beside: Contract | None = None,
    positions: Sequence[int] | None = None,
) -> Contract:
    """Contract for new columns: the narrowest types that lose nothing, with headroom.

    `positions` are those of the new columns in the file; by default all columns are new.
    """
    positions = range(len(headers)) if positions is None else positions
    headers, seen = [headers[position] for position in positions], [seen[position] for position in positions]
    taken = [column.name for column in beside.columns] if beside else []
    names = unique_names(headers, max_bytes=rules.max_name_bytes, naming=rules.naming, taken=taken)
    columns = [
        Column(header, name, _first_type(header, s, rules))
        for header, name, s in zip(headers, names, seen, strict=True)
    ]
    broken = {
        position: column
        for position, column, s in zip(positions, columns, seen, strict=True)
        if not holds(column.type, s)
    }
    if broken:
        # Only a declared type can fail to hold the values it is chosen for.
        raise DriftError(columns_of_another_type=broken)
    return Contract(tuple(columns))


def _first_type(header: str, seen: ColumnProfile, rules: SchemaRules) -> ColumnType:
    declared = rules.declared_type(header)
    if declared == TEXT or (declared is None and is_identifier(header)):
        return _text_for(seen.length)
    return declared or _narrowest(seen, keeps_rows=rules.keeps_rows)


def _ambiguous(columns: Iterable[tuple[Column, ColumnProfile]], rules: SchemaRules) -> tuple[str, ...]:
    """A warning for each column whose first values are text only because numbers would lose their spelling."""
    return tuple(
        f"Column {column.name!r} is text: {_SECTIONS if s.may_be_sections else _NEGATIVE_ZERO}. If they are numbers, "
        f"declare the column in the catalog as 'decimal({max(SHORT_DIGITS, s.whole_digits + s.scale)},{s.scale})'."
        for column, s in columns
        if s.needs_text and s.whole_digits + s.scale <= MAX_DIGITS
        if rules.declared_type(column.header) is None and not is_identifier(column.header)
    )


def _narrowest(seen: ColumnProfile, *, keeps_rows: bool) -> ColumnType:
    match seen.kind:
        case None:
            return ColumnType(Kind.UNKNOWN)
        case Kind.INTEGER if seen.canonical:
            return ColumnType(Kind.INTEGER)
        case Kind.DECIMAL if (digits := max(1, seen.whole_digits) + seen.scale) <= MAX_DIGITS and not seen.needs_text:
            return ColumnType(Kind.DECIMAL, _precision_for(digits, keeps_rows=keeps_rows), seen.scale)
        case Kind.BOOLEAN:
            return ColumnType(Kind.BOOLEAN)
        case Kind.DATE | Kind.TIMESTAMP:
            return ColumnType(seen.kind, format=seen.format)
        case _:
            return _text_for(seen.length)


def _precision_for(digits: int, *, keeps_rows: bool) -> int:
    """The precision for this many digits, with headroom."""
    if digits <= SHORT_DIGITS:
        return SHORT_DIGITS
    # Rows that stay may use all digits before the point, which later files would then lack after it.
    return digits if keeps_rows else MAX_DIGITS


def _text_for(length: int) -> ColumnType:
    """Text with headroom for twice the longest value seen; unbounded beyond what SQL Server can bound."""
    if length > MAX_BOUND:
        return ColumnType(Kind.TEXT)
    wanted = min(length * _HEADROOM, MAX_BOUND)
    return ColumnType(Kind.TEXT, length=next(bound for bound in _LENGTHS if bound >= wanted))


def _check_declared(columns: Sequence[Column], rules: SchemaRules) -> None:
    """Reject declarations that cannot hold the rows of earlier loads."""
    if not rules.keeps_rows:
        return
    forbidden = {
        column: declared
        for column in columns
        if (declared := rules.declared_type(column.header)) is not None and not _can_widen_from(declared, column.type)
    }
    if forbidden:
        raise DeclarationError(forbidden)


def _next_type(column: Column, seen: ColumnProfile, rules: SchemaRules) -> ColumnType | None:
    """The type that a column has from this file on; None if the policy allows none."""
    declared = rules.declared_type(column.header)
    if declared == TEXT and column.type.kind is not Kind.TEXT:
        return _text_for(max(seen.length, _written_length(column.type)))
    if declared is not None and declared != TEXT:
        return declared if holds(declared, seen) else None
    if column.type.kind is Kind.UNKNOWN:
        return _first_type(column.header, seen, rules)
    widened = _widened(column.type, seen, keeps_rows=rules.keeps_rows)
    if widened is None and rules.policy is DriftPolicy.EVOLVE:
        return _common_supertype(column.type, seen, keeps_rows=rules.keeps_rows)
    return None if widened != column.type and rules.policy is DriftPolicy.FREEZE else widened


def _common_supertype(type_: ColumnType, seen: ColumnProfile, *, keeps_rows: bool) -> ColumnType | None:
    """The narrowest type for both the column's values and the profile's: integers → decimals → text."""
    if not type_.is_canonical:
        # The profiled text is no longer the file's: only a person can decide what these values are now.
        return None
    if type_.kind in _NUMBERS:
        number = seen.as_number()
        whole, scale = max(number.whole_digits, _whole_digits(type_)), max(number.scale, type_.scale)
        # Of a zero with a minus sign, decimals would keep no more than whole numbers do.
        loses_sign = number.negative_zero and type_.kind is Kind.INTEGER
        if number.kind in _NUMBERS and whole + scale <= MAX_DIGITS and not loses_sign:
            return ColumnType(Kind.DECIMAL, _precision_for(whole + scale, keeps_rows=keeps_rows), scale)
    elif keeps_rows:
        # The rows that stay would have to be rewritten in the text of their files.
        return None
    return _text_for(max(seen.length, _written_length(type_)))


def _can_widen_from(type_: ColumnType, before: ColumnType) -> bool:
    """Whether a column of the type `before` can become this type with the rows that it holds."""
    if before.kind is Kind.TEXT:
        return type_.kind is Kind.TEXT and (not type_.length or 0 < before.length <= type_.length)
    if before.kind in _NUMBERS and (before.is_canonical or type_.kind in _NUMBERS):
        widest = ColumnProfile(before.kind, _whole_digits(before), before.scale, length=_written_length(before))
        return holds(type_, widest)
    return before.kind in (type_.kind, Kind.UNKNOWN)


def _widened(type_: ColumnType, seen: ColumnProfile, *, keeps_rows: bool = False) -> ColumnType | None:
    """The type of the same family that holds every value of the profile; None if there is none."""
    if seen.kind is None:
        return type_
    match type_.kind:
        case Kind.TEXT:
            return type_ if not type_.length or seen.length <= type_.length else _text_for(seen.length)
        case Kind.INTEGER | Kind.DECIMAL:
            return _widened_number(type_, seen.as_number(), keeps_rows=keeps_rows)
        case Kind.DATE | Kind.TIMESTAMP if seen.kind is type_.kind and type_.is_canonical:
            both = ColumnProfile(type_.kind, format=type_.format).join(seen)
            return (
                type_ if (both.kind, both.format) == (type_.kind, type_.format) else replace(type_, format=seen.format)
            )
        case _:
            # Text in a declared format was normalized before it was profiled.
            return type_ if seen.kind is type_.kind else None


def _widened_number(type_: ColumnType, number: ColumnProfile, *, keeps_rows: bool) -> ColumnType | None:
    if type_.kind is Kind.INTEGER:
        fits = not type_.precision or number.whole_digits <= type_.precision
        whole = number.kind is Kind.INTEGER and number.canonical
        return (type_ if fits else replace(type_, precision=0)) if whole else None
    return _widened_decimal(type_, number, keeps_rows=keeps_rows) if number.kind in _NUMBERS else None


def _widened_decimal(type_: ColumnType, number: ColumnProfile, *, keeps_rows: bool) -> ColumnType | None:
    scale = max(type_.scale, number.scale)
    whole = max(number.whole_digits, _whole_digits(type_)) if keeps_rows else number.whole_digits
    digits = whole + scale
    if digits <= type_.precision:
        return replace(type_, scale=scale)
    precision = _precision_for(digits, keeps_rows=keeps_rows)
    return replace(type_, precision=precision, scale=scale) if digits <= MAX_DIGITS else None


def _whole_digits(type_: ColumnType) -> int:
    return type_.precision - type_.scale if type_.kind is Kind.DECIMAL else type_.precision or _INTEGER_DIGITS


_INTEGER_DIGITS = 19
_MAX_WRITTEN_LENGTH = {Kind.BOOLEAN: 5, Kind.DATE: 10, Kind.TIMESTAMP: 26, Kind.INTEGER: 20, Kind.DECIMAL: 40}


def _written_length(type_: ColumnType) -> int:
    """The maximum text length of a value of this type."""
    return _MAX_WRITTEN_LENGTH.get(type_.kind, type_.length)


def _as_declared(column: Column, rules: SchemaRules) -> Column:
    """The column as an error shows it: with the type that the catalog declares, if any."""
    return replace(column, type=rules.declared_type(column.header) or column.type)
