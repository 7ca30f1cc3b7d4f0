"""The losses of torch.nn for lossreg: a manifest, and the overlay that it is made from."""
