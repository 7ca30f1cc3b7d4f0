"""The losses of segmentation-models-pytorch for lossreg: a manifest, and the overlay that it is made from."""
