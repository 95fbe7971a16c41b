"""The Dagster definitions: thin wrappers over the lower packages, without business rules."""
