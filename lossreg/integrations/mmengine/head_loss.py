"""The loss in the config of a model of MMEngine, called as the heads of OpenMMLab's libraries call theirs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.registry import MODELS
from torch import Tensor

from lossreg.config.factory import build, config_of
from lossreg.errors import InputError
from lossreg.integrations.meter import component_key
from lossreg.integrations.tracked import Tracked
from lossreg.registries import losses


@MODELS.register_module("lossreg", force=True)
class HeadLoss(Tracked):
    """A `Tracked` loss in the config of a model: `dict(type="lossreg", name="dice")`. Importing this file registers it.

        custom_imports = dict(imports=["lossreg.integrations.mmengine"])
        loss_decode = dict(type="lossreg", name="dice", ignore_index=255)

    MMEngine trains the sum of all values whose key contains "loss": return the total alone. It is called as the losses
    of heads are, too. A head's ignore_index must be that of the loss. Weights of pixels or examples are refused.

    Args:
        name, params: the config of the loss.
        loss_name: key of the total in the dict of a head, which must contain "loss"; None for loss_<name>.
        loss_weight: factor of the total, >= 0. Means, records and the monitor have the values before it.
        adapt, monitor, records: as for `Tracked`.
        parameters: of the loss, as for `build`.
    Raises:
        InputError: a loss_name that MMEngine would not train; a negative loss_weight; by a call, what it refuses.
    """

    def __init__(
        self,
        name: str,
        params: Mapping[str, Any] | None = None,
        *,
        loss_name: str | None = None,
        loss_weight: float = 1.0,
        adapt: Any = None,
        monitor: Any = None,
        records: Any = None,
        **parameters: Any,
    ) -> None:
        module = build(name, params=params, **parameters)
        super().__init__(module, adapt=adapt, monitor=monitor, records=records)
        self.loss_name = component_key(config_of(self)["name"]) if loss_name is None else loss_name
        self.loss_weight = loss_weight
        if "loss" not in self.loss_name:
            raise InputError(
                f"MMEngine trains only values whose key contains 'loss'; write loss_name='loss_{self.loss_name}'"
            )
        if loss_weight < 0:
            raise InputError(f"loss_weight must be >= 0, got {loss_weight!r}")
        self._agreed: set[int | None] = {None}

    def forward(
        self,
        *inputs: Any,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
        ignore_index: int | None = None,
        **options: Any,
    ) -> Tensor:
        """Compute the total, 0-dim. With avg_factor it is the sum over the examples, divided by avg_factor."""
        if weight is not None:
            raise InputError(
                "a loss of lossreg takes no weight=; remove the sampler of the head, and choose hard pixels by a loss"
                " that does, such as ohem_cross_entropy"
            )
        if reduction_override is not None:
            raise InputError(
                "reduction_override= is not applied; write reduction='mean' or 'sum' in the config of the loss"
            )
        if ignore_index not in self._agreed:
            _check_ignored(config_of(self), ignore_index)
            self._agreed.add(ignore_index)
        output = self.evaluate(*inputs, **options)
        total = output.total * self.loss_weight
        if avg_factor is None:
            return total
        if output.per_example is None or not self._is_mean:
            raise InputError(
                "avg_factor divides a sum over examples, and this loss is no mean of values per example; choose one"
                " that is, with reduction='mean'"
            )
        return total * len(output.per_example) / avg_factor


def _check_ignored(config: Mapping[str, Any], ignored: int | None) -> None:
    """Check that every loss of a config ignores the label that the head ignores."""
    differ = [leaf for leaf in _leaves(config) if leaf["params"].get("ignore_index") != ignored]
    if lacking := [leaf["name"] for leaf in differ if "ignore_index" not in leaf["params"]]:
        raise InputError(
            f"the head ignores label {ignored}, and {', '.join(lacking)} cannot; write ignore_index=None in the head if"
            " no pixel has this label, or choose a loss with ignore_index"
        )
    if differ:
        other = differ[0]["params"]["ignore_index"]
        raise InputError(
            f"the head ignores label {ignored}, and the ignore_index of {differ[0]['name']} is {other}; write"
            f" ignore_index={ignored} in the params of the loss, or ignore_index={other} in the head"
        )


def _leaves(value: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the configs of all losses that hold no other one, or ignore a label themselves."""
    if isinstance(value, Mapping):
        inner = [leaf for part in value.values() for leaf in _leaves(part)]
        is_loss = "provider" in value and f"{value['provider']}/{value['name']}" in losses
        if is_loss and ("ignore_index" in value["params"] or not inner):
            yield value
        yield from inner
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _leaves(part)
