"""What must be seen on a GPU, in one run: `python -m gpu smoke` and `python -m gpu kernels`, from `benchmarks/`."""
