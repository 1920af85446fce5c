"""Load and measurements, run by hand: see docs/benchmarks.md."""
