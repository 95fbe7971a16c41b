"""Checks of everything that this project needs, each with its next step, made of the other rooms' own probes.

Here: what is looked at, and what each outcome means for a person. Not here: how a room is reached or tried; its table
on a terminal (see cli).
"""

from qt_pipeline.doctor.finding import Area, Finding, FindingState
from qt_pipeline.doctor.runner import CHECK_THREAD, run_checks

__all__ = ["CHECK_THREAD", "Area", "Finding", "FindingState", "run_checks"]
