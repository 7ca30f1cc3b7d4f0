"""A whole loss over sums as one function of logits and target: two kernel calls, and a few steps on numbers.

    tables.py    the formulas of a loss and their policy, as data
    groups.py    terms that are computed alike, in NumPy
    finish.py    from the sums to all terms and back
    steps.py     both passes with it; compiled.py is the same by Numba, for the usual tables
    plan.py      a loss for tensors of one shape and type: request, kernels and tables
    function.py  the plan as one node of torch's graph
    lookup.py    the plan of a call, made on the first and found again on the next
    device.py    the plan on a GPU: its tables are tensors of the device, and triton_finish.py has the steps

The general way, step by step in torch, is `MaskLoss.terms`. It computes what has no plan: powers of ratios, sums over
ranks, learned weights, second derivatives, and tensors that no kernel can read.
"""
