"""`python -m qt_pipeline` is the command `qt-pipeline`."""

from qt_pipeline.cli import main

main()
