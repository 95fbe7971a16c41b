"""Read the catalog file.

Here: YAML in, a catalog or all its faults with their lines out.
Not here: what the keys mean (see model).
"""

import reprlib
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from sqlalchemy import make_url

from qt_pipeline.catalog.catalog import Catalog, CatalogFault, Position
from qt_pipeline.catalog.model import AfterPublish, DeclaredColumn, Entry, File, Policies
from qt_pipeline.database import NameMatching
from qt_pipeline.errors import ConfigurationError
from qt_pipeline.settings import DEFAULT_CATALOG, Settings

# The size of a catalog of 10,000 datasets with 50 columns each.
_MAX_NODES = 2_000_000
_TEXT, _DATE, _MERGE = (f"tag:yaml.org,2002:{name}" for name in ("str", "timestamp", "merge"))


def catalog_for(settings: Settings) -> Catalog:
    """The catalog that the settings name; table names are compared as the target compares them.

    Raises:
        ConfigurationError: see `load_catalog`; or QT_CATALOG names a file that does not exist.
    """
    path = settings.catalog
    if path != DEFAULT_CATALOG and not path.exists():
        # An empty catalog would load every dataset into another table than intended.
        raise ConfigurationError(
            f"The catalog {path}, which QT_CATALOG names, does not exist.",
            hint="Correct QT_CATALOG, or write the file.",
        )
    return load_catalog(path, NameMatching.of(make_url(settings.warehouse_url).get_backend_name()))


def load_catalog(path: Path, names: NameMatching = NameMatching.CASE) -> Catalog:
    """Read the catalog at `path`; a missing file is an empty catalog. `names` is the rule for table names.

    Raises:
        ConfigurationError: the file is not a valid catalog; the message lists each fault with its line and reason.
    """
    if not path.exists():
        return Catalog(File(), path)
    try:
        tree, document = _read(path.read_text(encoding="utf-8"))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise _error(path, [f"line {mark.line + 1 if mark else '?'}: {error.problem}"]) from None
    except OSError as error:
        raise _error(path, [f"it cannot be read ({error.strerror})"]) from None
    except (UnicodeDecodeError, yaml.YAMLError, RecursionError):
        raise _error(path, ["it is not YAML in UTF-8"]) from None
    try:
        catalog = Catalog(File.model_validate(document), path)
    except ValidationError as error:
        raise _error(path, _describe_faults(tree, map(_fault, error.errors(include_url=False)))) from None
    if faults := _describe_faults(tree, catalog.faults(names)):
        raise _error(path, faults)
    return catalog


def faults_in(document: object) -> list[str]:
    """The faults of a catalog that is not in a file yet: position and reason of each; empty if it is valid."""
    try:
        faults = list(Catalog(File.model_validate(document), Path()).faults(NameMatching.CASE))
    except ValidationError as error:
        faults = [_fault(details) for details in error.errors(include_url=False)]
    return [f"{'.'.join(map(str, place))}: {reason}" for place, reason in faults]


def _read(text: str) -> tuple[yaml.Node | None, object]:
    """The node tree of a YAML text, which knows the lines, and its content. An empty text is an empty mapping."""
    loader = yaml.SafeLoader(text)
    tree = loader.get_single_node()
    if tree is None:
        return None, {}
    if _size(tree, {}) > _MAX_NODES:
        # Ten lines of nested aliases can expand beyond any machine's memory.
        raise yaml.MarkedYAMLError(problem="its aliases expand to more than a catalog can hold")
    _keep_text(tree, set())
    try:
        return tree, cast("Any", loader).construct_document(tree)
    except (ValueError, LookupError, AttributeError) as error:
        # PyYAML's errors for a value that contradicts its tag, such as !!bool 7.
        raise yaml.YAMLError from error


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """The number of nodes once every alias is expanded."""
    if id(node) in known:
        return known[id(node)]
    # An alias inside its own anchor is rejected elsewhere.
    known[id(node)] = 1
    if isinstance(node, yaml.MappingNode):
        size = 1 + sum(_size(key, known) + _size(value, known) for key, value in node.value)
    elif isinstance(node, yaml.SequenceNode):
        size = 1 + sum(_size(item, known) for item in node.value)
    else:
        size = 1
    known[id(node)] = min(size, 2 * _MAX_NODES)
    return known[id(node)]


def _keep_text(node: yaml.Node, done: set[int]) -> None:
    """Keep dates, and the keys of mappings, as text: the header 007 is not the number seven.

    Raises:
        yaml.MarkedYAMLError: a key occurs twice, which YAML 1.2 (3.2.1.1) forbids but PyYAML accepts.
    """
    if id(node) in done:
        return
    done.add(id(node))
    if isinstance(node, yaml.ScalarNode):
        node.tag = _TEXT if node.tag == _DATE else node.tag
    elif isinstance(node, yaml.MappingNode):
        keys: set[str] = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE:
                key.tag = _TEXT
                if key.value in keys:
                    raise yaml.MarkedYAMLError(
                        problem=f"{reprlib.repr(key.value)} occurs twice", problem_mark=key.start_mark
                    )
                keys.add(key.value)
            _keep_text(value, done)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _keep_text(item, done)


def _line(tree: yaml.Node | None, place: Position) -> int:
    """The line of a position, or of the nearest enclosing one."""
    node, line = tree, 0
    children: dict[str | int, tuple[yaml.Node, yaml.Node]]
    for part in place:
        if isinstance(node, yaml.MappingNode):
            children = {key.value: (key, value) for key, value in node.value if isinstance(key, yaml.ScalarNode)}
        elif isinstance(node, yaml.SequenceNode):
            children = dict(enumerate((item, item) for item in node.value))
        else:
            break
        if part not in children:
            break
        at, node = children[part]
        line = at.start_mark.line
    return line + 1


def _fault(error: ErrorDetails) -> CatalogFault:
    place = tuple(part for part in error["loc"] if part != "[key]")
    match error["type"]:
        case "extra_forbidden":
            return place, _unknown(place)
        case "model_type" | "dict_type" | "mapping_type":
            return place, "must be a mapping of keys to values"
        case "string_type":
            return place, "must be text; put it between quotes"
        case "missing":
            return place, "is missing"
        case "too_short":
            return place, "must not be empty"
        case _:
            reason = error["msg"].removeprefix("Value error, ")
            return place, reason.replace("Input should be", "must be")


def _unknown(place: Position) -> str:
    *above, key = place
    match above:
        case []:
            model = File
        case ["defaults"]:
            model = Policies
        case ["datasets", _]:
            model = Entry
        case [*_, "columns", _]:
            model = DeclaredColumn
        case _:
            model = AfterPublish
    known = _keys(model)
    if model is Policies and key in _keys(Entry):
        return "can be set only for one dataset, not under defaults"
    near = get_close_matches(str(key), known, n=1)
    hint = f"the nearest key is {near[0]!r}" if near else f"the keys are {', '.join(known)}"
    return f"is not a known key; {hint}"


def _keys(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _describe_faults(tree: yaml.Node | None, faults: Iterable[CatalogFault]) -> list[str]:
    """The faults as text, in the order of their lines."""
    lines = sorted((_line(tree, place), ".".join(str(part)[:60] for part in place), reason) for place, reason in faults)
    return [f"line {line}: {f'{place}: ' if place else ''}{reason}" for line, place, reason in lines]


def _error(path: Path, faults: Iterable[str]) -> ConfigurationError:
    return ConfigurationError(
        f"The catalog {path} is not valid: {'; '.join(faults)}.", hint="Correct it and try again."
    )
