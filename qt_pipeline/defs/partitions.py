"""The partitions: one for each dataset id. Not here: who adds them (see sensors)."""

import dagster as dg

datasets = dg.DynamicPartitionsDefinition(name="quantemplate_datasets")

PARTITION_TAG = "dagster/partition"
"""Set by Dagster on each run: the dataset that it is for."""
