"""The rules of the house, held against source text: who imports whom, and who reads the environment."""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

PACKAGE = "qt_pipeline"

FLOORS = (
    ("errors", "values", "urls", "private", "ahead", "env_file", "safe_text", "web_guard"),
    ("tabular", "landing", "settings", "quantemplate", "sandbox", "database", "liveness", "dagster_api", "telemetry"),
    ("catalog", "warehouse", "inbox"),
    ("ingest", "dispatch", "relay", "doctor", "alerting"),
    ("defs", "demo"),
    ("definitions", "cli"),
    ("__main__",),
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}

_KNOW_DAGSTER = ("defs", "definitions")
_KNOW_THE_SANDBOX = ("sandbox", "cli", "demo")
_READ_THE_ENVIRONMENT = ("settings",)
_PASS_THE_ENVIRONMENT_ON = ("cli", "demo")
_ENVIRONMENT = ("environ", "environb", "getenv", "getenvb")


@dataclass(frozen=True, slots=True)
class Module:
    """One module: its dotted name, its source, whether it is a folder's `__init__`."""

    name: str
    source: str
    is_folder: bool = False

    @property
    def room(self) -> str:
        return room_of(self.name)

    @property
    def folder(self) -> str:
        return self.name if self.is_folder else self.name.rpartition(".")[0]


def room_of(name: str) -> str:
    """The room of a module's name; empty for the package itself."""
    return name.removeprefix(PACKAGE).removeprefix(".").partition(".")[0]


def offences(modules: list[Module]) -> list[str]:
    """Every breach of the house's rules, in words; none when all is well."""
    by_name = {module.name: module for module in modules}
    found = [f"{module.name} is in no room" for module in modules if module.room and module.room not in FLOOR_OF]
    for module in modules:
        imported = _imports(module, by_name)
        found += [f"{module.name} {offence}" for offence in _offences_of_imports(module.room, imported)]
        found += [f"{module.name} {offence}" for offence in _offences_of_environment(module)]
    return found + _circles(by_name)


def _offences_of_imports(room: str, imported: set[str]) -> Iterator[str]:
    for name in sorted(imported):
        if name.partition(".")[0].startswith("dagster") and room not in _KNOW_DAGSTER:
            yield f"knows Dagster ({name})"
        if name.partition(".")[0] != PACKAGE:
            continue
        other = room_of(name)
        if other == room:
            continue
        if other == "sandbox" and room not in _KNOW_THE_SANDBOX:
            yield "knows the sandbox"
        if FLOOR_OF.get(other, -1) >= FLOOR_OF.get(room, -1) and other:
            yield f"imports {name}, which is on no lower floor"


def _imports(module: Module, by_name: Mapping[str, Module]) -> set[str]:
    """The full names of all that a module imports, wherever in its text it does."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(module.source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(module, node)
            # `from package import module` imports the module; `from module import name` only the module.
            members = {f"{base}.{alias.name}" for alias in node.names}
            found |= (members & set(by_name)) or {base}
            if any(f"{base}.{alias.name}" not in by_name for alias in node.names):
                found.add(base)
    return found


def _absolute(module: Module, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    home = module.folder.split(".")
    return ".".join([*home[: len(home) - node.level + 1], *([node.module] if node.module else [])])


def _offences_of_environment(module: Module) -> Iterator[str]:
    if module.room in _READ_THE_ENVIRONMENT:
        return
    tree = ast.parse(module.source)
    looked_into = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Subscript) or (isinstance(node, ast.Attribute) and node.attr not in ("copy", "items"))
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "os":
            if any(alias.name in _ENVIRONMENT for alias in node.names):
                yield "reads the environment"
        elif isinstance(node, ast.Attribute) and node.attr in _ENVIRONMENT and _is_name(node.value, "os"):
            passed_on = node.attr == "environ" and id(node) not in looked_into
            if not (passed_on and module.room in _PASS_THE_ENVIRONMENT_ON):
                yield "reads the environment"


def _is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _circles(by_name: Mapping[str, Module]) -> list[str]:
    within_rooms = {
        module.name: {
            name for name in _imports(module, by_name) if name in by_name and room_of(name) == module.room != ""
        }
        for module in by_name.values()
    }
    try:
        TopologicalSorter(within_rooms).prepare()
    except CycleError as error:
        return [f"a circle: {' → '.join(error.args[1])}"]
    return []
