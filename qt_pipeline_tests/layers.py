"""Checks the architecture rules against source text: allowed imports, and which packages may read the environment."""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

PACKAGE = "qt_pipeline"

LAYERS = (
    ("errors", "values", "urls", "private", "prefetch", "env_file", "safe_text", "web_guard"),
    ("tabular", "landing", "settings", "quantemplate", "sandbox", "database", "liveness", "dagster_api", "telemetry"),
    ("catalog", "warehouse", "inbox"),
    ("ingest", "dispatch", "relay", "doctor", "alerting"),
    ("defs", "demo"),
    ("definitions", "cli"),
    ("__main__",),
)
LAYER_OF = {package: layer for layer, packages in enumerate(LAYERS) for package in packages}

_MAY_IMPORT_DAGSTER = ("defs", "definitions")
_MAY_IMPORT_SANDBOX = ("sandbox", "cli", "demo")
_MAY_READ_ENVIRONMENT = ("settings",)
_MAY_PASS_ENVIRONMENT_ON = ("cli", "demo")
_ENVIRONMENT_NAMES = ("environ", "environb", "getenv", "getenvb")


@dataclass(frozen=True, slots=True)
class Module:
    """One module: dotted name, source, and whether it is a package's `__init__`."""

    name: str
    source: str
    is_package: bool = False

    @property
    def package(self) -> str:
        return package_of(self.name)

    @property
    def folder(self) -> str:
        return self.name if self.is_package else self.name.rpartition(".")[0]


def package_of(name: str) -> str:
    """The subpackage or top-level module that a dotted name belongs to; empty for `qt_pipeline` itself."""
    return name.removeprefix(PACKAGE).removeprefix(".").partition(".")[0]


def violations(modules: list[Module]) -> list[str]:
    """Every violation of the architecture rules, as one sentence each."""
    by_name = {module.name: module for module in modules}
    messages = [
        f"{module.name} is in no layer" for module in modules if module.package and module.package not in LAYER_OF
    ]
    for module in modules:
        imported = _imports(module, by_name)
        messages += [f"{module.name} {violation}" for violation in _violations_of_imports(module.package, imported)]
        messages += [f"{module.name} {violation}" for violation in _violations_of_environment(module)]
    return messages + _cycles(by_name)


def _violations_of_imports(package: str, imported: set[str]) -> Iterator[str]:
    for name in sorted(imported):
        if name.partition(".")[0].startswith("dagster") and package not in _MAY_IMPORT_DAGSTER:
            yield f"imports Dagster ({name})"
        if name.partition(".")[0] != PACKAGE:
            continue
        other = package_of(name)
        if other == package:
            continue
        if other == "sandbox" and package not in _MAY_IMPORT_SANDBOX:
            yield "imports the sandbox"
        if LAYER_OF.get(other, -1) >= LAYER_OF.get(package, -1) and other:
            yield f"imports {name}, which is in no lower layer"


def _imports(module: Module, by_name: Mapping[str, Module]) -> set[str]:
    """The full names of every import of a module, at any depth in its source."""
    imported: set[str] = set()
    for node in ast.walk(ast.parse(module.source)):
        if isinstance(node, ast.Import):
            imported.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(module, node)
            # `from package import module` imports the module; `from module import name` only the module.
            members = {f"{base}.{alias.name}" for alias in node.names}
            imported |= (members & set(by_name)) or {base}
            if any(f"{base}.{alias.name}" not in by_name for alias in node.names):
                imported.add(base)
    return imported


def _absolute(module: Module, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    parent = module.folder.split(".")
    return ".".join([*parent[: len(parent) - node.level + 1], *([node.module] if node.module else [])])


def _violations_of_environment(module: Module) -> Iterator[str]:
    if module.package in _MAY_READ_ENVIRONMENT:
        return
    tree = ast.parse(module.source)
    accessed = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Subscript) or (isinstance(node, ast.Attribute) and node.attr not in ("copy", "items"))
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "os":
            if any(alias.name in _ENVIRONMENT_NAMES for alias in node.names):
                yield "reads the environment"
        elif isinstance(node, ast.Attribute) and node.attr in _ENVIRONMENT_NAMES and _is_name(node.value, "os"):
            passed_on = node.attr == "environ" and id(node) not in accessed
            if not (passed_on and module.package in _MAY_PASS_ENVIRONMENT_ON):
                yield "reads the environment"


def _is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _cycles(by_name: Mapping[str, Module]) -> list[str]:
    within_packages = {
        module.name: {
            name for name in _imports(module, by_name) if name in by_name and package_of(name) == module.package != ""
        }
        for module in by_name.values()
    }
    try:
        TopologicalSorter(within_packages).prepare()
    except CycleError as error:
        return [f"import cycle: {' → '.join(error.args[1])}"]
    return []
