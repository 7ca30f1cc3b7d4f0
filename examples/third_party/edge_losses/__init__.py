"""Losses for thin and sparse structures, written outside lossreg."""
