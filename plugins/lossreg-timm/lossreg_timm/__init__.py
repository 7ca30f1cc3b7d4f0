"""The losses of timm for lossreg: a manifest, and the overlay that it is made from."""
