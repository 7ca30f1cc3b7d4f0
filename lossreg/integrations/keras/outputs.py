"""The outputs of a Keras model, and the losses that they have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from lossreg.errors import InputError
from lossreg.integrations.keras.loss import KerasLoss
from lossreg.integrations.observers import input_kind
from lossreg.integrations.tracked import Tracked


def losses_of(model: keras.Model) -> dict[str, Tracked]:
    """Return the losses of a model, by the beginning of their keys, and check them against its outputs."""
    outputs = _output_layers(model)
    given: Any = model.loss
    if isinstance(given, list | tuple):
        # A model of a class of its own does not tell its outputs: Keras names their logs by the losses.
        names = outputs if None not in outputs.values() else [getattr(loss, "name", n) for n, loss in enumerate(given)]
        given = dict(zip(names, given, strict=False))
    losses = given if isinstance(given, Mapping) else dict.fromkeys(outputs, given)
    found = {name: loss for name, loss in losses.items() if isinstance(loss, KerasLoss)}
    if not found:
        raise InputError("LossCallback finds no loss: write model.compile(..., loss=KerasLoss('dice'))")
    if len(set(map(id, found.values()))) < len(found):
        each = ", ".join(f"{name!r}: KerasLoss(...)" for name in found)
        raise InputError(f"one KerasLoss has several outputs; give each its own: loss={{{each}}}")
    for name, loss in found.items():
        _check_activation(loss, _activation(outputs.get(name)))
    return {"" if len(losses) == 1 else f"{name}_": loss.tracked for name, loss in found.items()}


def _check_activation(loss: KerasLoss, ends: str) -> None:
    """Check that a loss has the activation that ends the model, where the layer of the output shows it."""
    told = loss.adapt.activation
    if ends in ("sigmoid", "softmax") and told is None and input_kind(loss.tracked.loss) == "logits":
        raise InputError(
            f"the model ends in a {ends}, and the loss takes logits; leave the {ends} out of the model, or write"
            f" KerasLoss(..., activation={ends!r})"
        )
    if told is not None and ends in ("linear", "sigmoid", "softmax") and ends != told:
        remedy = "leave activation out" if ends == "linear" else f"write activation={ends!r}"
        raise InputError(f"KerasLoss has activation={told!r}, and the output of the model is {ends}; {remedy}")


def _output_layers(model: keras.Model) -> dict[str, Any]:
    """Return the layer of each output, by the name of the output; None for a layer that is not known."""
    if isinstance(model, keras.Sequential):
        return {"output": model.layers[-1]}
    names = list(getattr(model, "output_names", None) or [])
    if not names:
        return {"output": None}
    outputs = sorted(model.output) if isinstance(model.output, Mapping) else names  # Keras sorts the keys
    return dict(zip(outputs, map(model.get_layer, names), strict=True))


def _activation(layer: Any) -> str:
    """Return the name of the activation of a layer; empty if it is not known."""
    if isinstance(layer, keras.Model):
        return _activation(next(reversed(_output_layers(layer).values())))
    return str(getattr(getattr(layer, "activation", None), "__name__", type(layer).__name__.lower()))
