"""Checks of settings, connections and services, each with a fix, based on the probes of the other packages.

Here: the checks, and their findings for people. Not here: the probes themselves; output in a terminal (see cli).
"""

from qt_pipeline.doctor.finding import Area, Finding, FindingState
from qt_pipeline.doctor.runner import CHECK_THREAD, run_checks

__all__ = ["CHECK_THREAD", "Area", "Finding", "FindingState", "run_checks"]
