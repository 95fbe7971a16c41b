"""What goes wrong with a demo."""

from qt_pipeline.errors import PipelineError


class DemoError(PipelineError):
    """The demo did not do what it should; its logs say more."""


class NotArrivedError(DemoError):
    """What an event announced is not in its table: somebody has told the sandbox to serve something else, perhaps."""
