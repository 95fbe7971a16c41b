"""The product, driven by its own entries: a dry run, a load, a restore, `line` and `diff`.

Here: the only imports of the product, and the one seam (`reading_blocks_of`). Not here: what is right (see model).
"""

import json
import sys
import traceback
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from qt_pipeline.catalog import Dataset, load_catalog
from qt_pipeline.cli import app
from qt_pipeline.errors import ConfigurationError, PipelineError
from qt_pipeline.ingest import dry_run, load_landed, local_file, restore
from qt_pipeline.landing import Landed, Landing, Provenance
from qt_pipeline.warehouse import Warehouse, open_warehouse

_INBOX = "the oracle's inbox"
_LARGEST_BLOCK = 64 << 20


@contextmanager
def reading_blocks_of(size: int) -> Generator[None]:
    """Let the reader parse so many bytes at a time, and 64 MiB where a row is longer; 0 leaves it as it is."""
    modules = [module for name, module in sys.modules.items() if name.startswith("qt_pipeline.")]
    places = [module for module in modules if hasattr(module, "BLOCK_SIZES")]
    assert places, "The product has no BLOCK_SIZES any more: the oracle needs another seam."
    before = [module.BLOCK_SIZES for module in places]
    if size:
        for module in places:
            module.BLOCK_SIZES = (size, _LARGEST_BLOCK)
    try:
        yield
    finally:
        for module, sizes in zip(places, before, strict=True):
            module.BLOCK_SIZES = sizes


@dataclass(frozen=True)
class Answer:
    """What the product said. `status` is published, unchanged, refused, would load, would fail, or crashed."""

    status: str
    load_id: int | None = None
    says: str = ""
    blames_target: bool = False


class Product:
    """The product on one target, with a folder of its own."""

    def __init__(self, folder: Path, url: str, schema: str | None) -> None:
        self._folder = folder
        self._url = url
        self._schema = schema
        self._landing = Landing(str(folder / "landing"))
        self._warehouse: Warehouse | None = None
        self._unprepared: Warehouse | None = None
        self._runs = 0
        self._catalog = folder / "datasets.yaml"

    @property
    def warehouse(self) -> Warehouse:
        if self._warehouse is None:
            self._warehouse = open_warehouse(self._url, self._schema)
        return self._warehouse

    def dataset(self, dataset_id: str, catalog: Mapping[str, Any]) -> Dataset | Answer:
        """The dataset under a catalog, or the refusal of that catalog."""
        self._catalog.write_text(json.dumps(catalog), "utf-8")
        try:
            return load_catalog(self._catalog).dataset(dataset_id)
        except ConfigurationError as error:
            return Answer("refused", says=str(error))

    def dry_run(self, dataset: Dataset, data: bytes) -> Answer:
        path = self._folder / "dry.csv"
        path.write_bytes(data)

        def run() -> Answer:
            if self._unprepared is None:
                self._unprepared = open_warehouse(self._url, self._schema, prepare=False)
            refusal = dry_run(self._unprepared, dataset, local_file(path, run_id="dry")).error
            return Answer("would load") if refusal is None else Answer("would fail", says=str(refusal))

        answer = _answered(run)
        return Answer("would fail", says=answer.says) if answer.status == "refused" else answer

    def load(self, dataset: Dataset, data: bytes, seq: int, *, force: bool) -> Answer:
        run_id = self._run_id()
        landed = self._land(dataset.id, data, seq, run_id)

        def run() -> Answer:
            outcome = load_landed(self.warehouse, dataset, landed, run_id=run_id, force=force)
            return Answer(outcome.status.value, outcome.load_id)

        return _answered(run)

    def restore(self, dataset: Dataset, load_id: int) -> Answer:
        def run() -> Answer:
            restored = restore(self.warehouse, self._landing, dataset, load_id, run_id=self._run_id())
            if restored.outcome is None:
                return Answer("unchanged", restored.current.load_id)
            return Answer(restored.outcome.status.value, restored.outcome.load_id)

        return _answered(run)

    def ask(self, *arguments: str) -> Any:
        """A command's answer as JSON; its exit code where it gives none."""
        settings = {
            "QT_WAREHOUSE_URL": self._url,
            "QT_WAREHOUSE_SCHEMA": self._schema or "",
            "QT_LANDING_URL": str(self._folder / "landing"),
            "QT_STATE_DIR": str(self._folder),
            "QT_CATALOG": str(self._catalog),
            "QT_ENV_FILE": "",
        }
        result = CliRunner().invoke(app, [*arguments, "--json"], env=settings)
        try:
            return json.loads(result.stdout)
        except json.JSONDecodeError:
            return result.exit_code

    def _run_id(self) -> str:
        self._runs += 1
        return f"run-{self._runs}"

    def _land(self, dataset_id: str, data: bytes, seq: int, run_id: str) -> Landed:
        with self._landing.draft(dataset_id, run_id) as draft:
            with draft.sink() as sink:
                sink.write(data)
            return draft.commit(
                Provenance(run_id=run_id, trace_id=run_id, inbox_id=_INBOX, through_seq=seq, event_id=None)
            )


def _answered(run: Any) -> Answer:
    try:
        return run()
    except PipelineError as error:
        blames = error.scope.value == "target"
        return Answer("refused", says=str(error), blames_target=blames)
    except Exception:  # noqa: BLE001  # whatever it is, no library's error may come out
        return Answer("crashed", says=traceback.format_exc(limit=-4))
