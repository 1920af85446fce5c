"""The parts of the benchmarks that compute."""
