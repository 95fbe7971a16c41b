"""The partitions: one per dataset id. The events sensor adds them (see sensors)."""

import dagster as dg

datasets = dg.DynamicPartitionsDefinition(name="quantemplate_datasets")

PARTITION_TAG = "dagster/partition"
"""Set by Dagster on each run: its dataset id."""
