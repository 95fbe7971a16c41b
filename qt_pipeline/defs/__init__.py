"""Dagster's view of the pipeline: thin shells over the rooms below. No business rule lives here."""
