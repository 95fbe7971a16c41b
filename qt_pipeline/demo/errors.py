"""Errors of the demo."""

from qt_pipeline.errors import PipelineError


class DemoError(PipelineError):
    """The demo failed; see its logs."""


class NotArrivedError(DemoError):
    """The data of an event is not in its table, possibly because somebody changed what the sandbox serves."""
