"""The checks and timings that need a GPU: `python -m gpu smoke` and `python -m gpu kernels`, from `benchmarks/`."""
