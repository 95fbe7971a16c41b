"""What the pipeline is measured by, as `make bench` runs it.

Here: one module for each benchmark, which measures, prints, and owns one section of `docs/benchmarks.md`.
Not here: what must hold whatever the machine; that is a test.
"""
