"""What the losses of each provider are called with, by the kinds in their contracts. One file a provider.

INPUTS: {(input kind, target kind) or a loss's name: a function of nothing that returns the arguments}.
EXCLUDED: {a loss's name: why it is not run}.
"""
