"""The losses of pytorch-toolbelt for lossreg: a manifest, and the overlay that it is made from."""
