"""The inputs of each provider's losses, by the kinds in their contracts. One file per provider.

INPUTS: {(input kind, target kind) or a loss's name: a function without parameters that returns the arguments}.
EXCLUDED: {a loss's name: the reason why it is not run}.
"""
