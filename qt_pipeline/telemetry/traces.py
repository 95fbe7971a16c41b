"""Whether the spans of this process are sent anywhere.

Here: the beginning and the end of that. Not here: spans (see spans), how they are sent (see otlp).
"""

import logging
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from qt_pipeline.telemetry.spans import exporter

if TYPE_CHECKING:
    from qt_pipeline.telemetry.otlp import OtlpExporter

RELAY_SERVICE = "qt_pipeline.relay"
RUN_SERVICE = "qt_pipeline.run"

_log = logging.getLogger(__name__)
_open: list["OtlpExporter"] = []


@contextmanager
def traces_to(endpoint: str | None, service: str) -> Generator[None]:
    """Send the spans of this block to the collector at `endpoint`, as those of `service`; nowhere without one.

    The end of the block waits up to two seconds for what is not sent yet.
    """
    if not endpoint:
        yield
        return
    # The import takes 0.2 s, so only processes with traces pay for it.
    from qt_pipeline.telemetry.otlp import OtlpExporter  # noqa: PLC0415

    try:
        otlp = OtlpExporter(endpoint, service)
    except Exception as error:  # noqa: BLE001  # the SDK reads variables of its own; none of them may stop a run
        _log.warning("No traces are made: OpenTelemetry cannot be set up (%s).", type(error).__name__)
        yield
        return
    _open.append(otlp)
    exporter.record = otlp.record
    try:
        yield
    finally:
        end_traces()


def end_traces() -> None:
    """Send queued spans now, for a process that does not reach the end of its block."""
    exporter.record = None
    while _open:
        _open.pop().close()
