"""What the work at hand is about: the fields by which lines of a log and spans of a trace are found together.

Here: their names, and where they hold. Not here: how they are written (see logs and spans).
"""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType

_work: ContextVar[Mapping[str, object]] = ContextVar("qt_pipeline_work", default=MappingProxyType({}))


@contextmanager
def log_context(
    *,
    event_id: str | None = None,
    sequence: int | None = None,
    dataset_id: str | None = None,
    dataset: str | None = None,
    run_id: str | None = None,
    load_id: int | None = None,
) -> Generator[None]:
    """Add these fields to every log line and span of the block; None adds nothing.

    A thread knows of it only if it was started in a copy of this context (see `qt_pipeline.prefetch`).
    """
    fields = {
        "event_id": event_id,
        "sequence": sequence,
        "dataset_id": dataset_id,
        "dataset": dataset,
        "run_id": run_id,
        "load_id": load_id,
    }
    before = _work.get()
    _work.set({**before, **{name: value for name, value in fields.items() if value is not None}})
    try:
        yield
    finally:
        # Not by a token: a generator may be closed in another context than the one it was started in.
        _work.set(before)


def current_context() -> Mapping[str, object]:
    """The current fields."""
    return _work.get()
