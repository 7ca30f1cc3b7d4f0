"""The losses of MONAI for lossreg: a manifest, and the overlay that it is made from."""
