"""A loss against another target than that of the other terms."""

from __future__ import annotations

from collections.abc import Mapping
from keyword import iskeyword
from typing import Any, Literal, get_args

from torch import Tensor, nn

from lossreg.composites.base import CONTRACT, Composite, terms_of, with_prefix
from lossreg.errors import InputError
from lossreg.loss import Reduction, Term
from lossreg.loss.calls import PerPixel
from lossreg.registries import losses

Resize = Literal["maximum", "nearest"]


@losses.register(
    "targeted",
    aliases=("targeted_loss",),
    tags=("composite", "mixture"),
    contract=CONTRACT,
    example={"target": "skeleton", "loss": "dice"},
)
class Targeted(Composite):
    r"""A loss against a further target, such as a skeleton, a boundary or an auxiliary label.

        loss = loss(input, further target)

    With target: skeleton the call is `loss(input, target, skeleton=...)`. So a sum has terms of several targets.
    Skeleton recall is tversky with alpha 0 and beta 1 on the skeleton, `hard_skeleton(masks)` of lossreg-segmentation.

    Math:
        L = \ell(x, t')
        where $\ell$ is the inner loss, $x$ the input and $t'$ the further target, which takes the place of the target.
    Args:
        target: name of the option that has the further target, such as skeleton: a name of Python that neither an input
            nor an option of the loss has.
        loss: the loss of input and further target.
        resize: under deep supervision, "maximum" keeps the thin lines of a mask, and "nearest" is for class indices and
            for masks without lines.
        reduction: over examples: "mean", "sum", or "none" for (N,).
    Shapes:
        input, target and further inputs: those of the loss; it gets the further target in the place of the target.
        terms: those of the loss, under the name of the further target if it has one term, else name.term.
    Raises:
        InputError: a call without the further target; a name that cannot be one; a loss with another reduction than the
            mean.
    Numerics: as the loss. The further target has a pass over the pixels of its own.
    Source: Kirchhoff et al. 2024 (skeleton recall), for a skeleton.
    """

    def __init__(
        self, *, target: str, loss: nn.Module, resize: Resize = "maximum", reduction: Reduction = "mean"
    ) -> None:
        super().__init__([loss], options=(target,), reduction=reduction)
        taken = {*self._calls.signature.inputs, *self._calls.signature.options, "input", "target", "weight", "self"}
        if not isinstance(target, str) or not target.isidentifier() or iskeyword(target) or target in taken:
            raise InputError(
                f"target must be a name of Python that is no input or option of losses ({', '.join(sorted(taken))}),"
                f" such as 'skeleton', got {target!r}"
            )
        if resize not in get_args(Resize):
            raise InputError(f"resize is 'maximum' or 'nearest', got {resize!r}")
        self.loss = loss
        self.target = target
        self.resize = resize

    def maps(self) -> Mapping[str, PerPixel]:
        return {**super().maps(), self.target: "mask" if self.resize == "maximum" else "labels"}

    def terms(self, input: Any, target: Any, *others: Any, **options: Any) -> dict[str, Term]:
        further: Tensor | None = options.pop(self.target, None)
        if further is None:
            raise InputError(
                f"targeted needs {self.target}=, the target of its {self.names[0]}: call it as"
                f" loss(input, target, {self.target}=...)"
            )
        ((given, own),) = self.calls_of_parts((input, further, *others), options)
        return with_prefix(self.target, terms_of(self.loss, *given, **own))
