"""The local demo: sandbox, relay and Dagster as local processes, the first events, and their loads.

Here: starting and stopping these processes, and sending events as Quantemplate would.
Not here: the processes themselves. Production uses none of this.
"""

from qt_pipeline.demo.dagster_dev import dagster_dev, prepare_dagster_home
from qt_pipeline.demo.errors import DemoError, NotArrivedError
from qt_pipeline.demo.folder import DEMO_FOLDER, running_demo
from qt_pipeline.demo.rounds import Arrival, await_round
from qt_pipeline.demo.run import run_demo
from qt_pipeline.demo.stack import Ports, Stack, free_ports

__all__ = [
    "DEMO_FOLDER",
    "Arrival",
    "DemoError",
    "NotArrivedError",
    "Ports",
    "Stack",
    "await_round",
    "dagster_dev",
    "free_ports",
    "prepare_dagster_home",
    "run_demo",
    "running_demo",
]
