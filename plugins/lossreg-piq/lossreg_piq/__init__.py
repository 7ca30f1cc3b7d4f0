"""The losses of PIQ for lossreg: a manifest, and the overlay that it is made from."""
