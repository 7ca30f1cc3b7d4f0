"""The losses of pytorch-metric-learning for lossreg: a manifest, and the overlay that it is made from."""
