"""The losses of kornia for lossreg: a manifest, and the overlay that it is made from."""
