"""The partitions: one for each dataset id. Not here: who adds them (see sensors)."""

import dagster as dg

datasets = dg.DynamicPartitionsDefinition(name="quantemplate_datasets")
