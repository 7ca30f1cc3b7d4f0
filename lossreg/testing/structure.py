"""Checks of a loss as a module: examples, reductions, shapes, copies, checkpoints, compilation and manifest."""

from __future__ import annotations

import copy
import pickle
from functools import cache
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from lossreg.authoring import manifest_writer
from lossreg.config.resolution import parameters
from lossreg.discovery import manifest
from lossreg.errors import ManifestError
from lossreg.loss import Loss
from lossreg.testing.case import tensors
from lossreg.testing.subject import ConformanceError, NotApplicable, Subject, same

CLOSE = 1e-9  # relative, in float64
# A device that every build of torch knows. Not meta: numbers have no values there, so a loss may keep them elsewhere.
ELSEWHERE = "lazy"


def permutation(subject: Subject) -> None:
    """Check that the order of the examples changes only the order of their values."""
    _repeatable(subject)
    inputs, order = subject.double(), [2, 0, 3, 1]
    module = subject.wide()
    before, after = (subject.evaluate(module, given) for given in (inputs, subject.case.take(inputs, order)))
    same(after.total, before.total, "the loss of permuted examples", rtol=CLOSE)
    if before.per_example is not None and after.per_example is not None:
        same(after.per_example, before.per_example[order], "the values of permuted examples", rtol=CLOSE)


def batch_split(subject: Subject) -> None:
    """Check that equal halves of a batch average to the whole, so that accumulated gradients are right."""
    _repeatable(subject)
    if not subject.contract.get("per_example", True):
        raise NotApplicable("per_example=False in the contract: the loss does not split over examples")
    inputs, module = subject.double(), subject.wide()
    halves = [subject.value(module, subject.case.take(inputs, part)) for part in ([0, 1], [2, 3])]
    same(
        sum(halves, torch.zeros(())) / 2, subject.value(module, inputs), "the mean of two halves of a batch", rtol=CLOSE
    )


def reductions(subject: Subject) -> None:
    """Check that `forward` equals the total of `evaluate`, and the mean, sum or list of its values per example."""
    inputs, module = subject.double(), subject.wide()
    value = subject.value(module, inputs)
    if value.shape != ():
        raise ConformanceError(f"forward returned shape {tuple(value.shape)}, expected a 0-dim tensor")
    output = subject.evaluate(module, inputs)
    same(output.total, value, "evaluate's total and forward", rtol=CLOSE)
    if any(component.requires_grad for component in output.components.values()):
        raise ConformanceError("a component requires a gradient; detach components")
    values = output.per_example
    if values is not None:
        if values.requires_grad:
            raise ConformanceError("the values per example require a gradient; detach them")
        same(values.mean(), value, "the mean of the values per example and forward", rtol=CLOSE)
    elif isinstance(module, Loss) and subject.contract.get("per_example", True):
        raise ConformanceError("there are no values per example; declare contract(per_example=False)")
    elif isinstance(module, Loss):
        return
    if subject.accepts("reduction"):
        total, each = (subject.value(subject.wide(reduction=how), inputs) for how in ("sum", "none"))
        same(total, each.sum(), "reduction='sum', and the sum of reduction='none',", rtol=CLOSE)
        if values is not None:
            same(each, values, "reduction='none' and the values per example", rtol=CLOSE)


def bad_shapes(subject: Subject) -> None:
    """Check that a target of another size raises, and is not broadcast."""
    misfits = list(subject.case.misfits(subject.case.inputs(batch=2)))
    if not misfits:
        raise NotApplicable("the case has no targets")
    for mistake, inputs in misfits:
        try:
            value = subject.value(subject.build(), inputs)
        except Exception:  # noqa: BLE001 - a loss may raise anything
            continue
        raise ConformanceError(f"{mistake} is accepted and gives {value}; raise a lossreg.ShapeError")


def moves(subject: Subject) -> None:
    """Check that `.to()` moves every tensor: to another dtype with the same result, and to another device."""
    narrow = subject.value(subject.build(), subject.case.inputs())
    module = subject.wide()
    same(subject.value(module, subject.double()), narrow.double(), "the loss after .double()", rtol=1e-4)
    with FakeTensorMode(allow_non_fake_inputs=True):
        moved = module.to(ELSEWHERE)
    for name, part in moved.named_modules():
        for key, value in [*vars(part).items(), *part.named_buffers(), *part.named_parameters()]:
            stayed = [x for x in tensors(value) if x.device.type != ELSEWHERE]
            if stayed:
                raise ConformanceError(f"{name + '.' if name else ''}{key} is not moved; register it as a buffer")


def pickles(subject: Subject) -> None:
    """Check that pickling keeps the loss, as DataLoader workers and spawned ranks need."""
    _twin(subject, lambda module: pickle.loads(pickle.dumps(module)))


def deepcopies(subject: Subject) -> None:
    """Check that a deep copy is the same loss."""
    _twin(subject, copy.deepcopy)


def state_dict(subject: Subject) -> None:
    """Check that a checkpoint loads strictly, that no call changes it, and that the contract names parameters."""
    inputs, module = subject.double(), subject.wide()
    state = copy.deepcopy(module.state_dict())
    first = subject.value(module, inputs)
    changed = [key for key, value in module.state_dict().items() if not torch.equal(value, state[key])]
    if changed:
        raise ConformanceError(f"a call changed {', '.join(changed)}; a loss must have no state")
    fresh = subject.wide()
    fresh.load_state_dict(state, strict=True)
    same(subject.value(fresh, inputs), first, "the loss from its checkpoint", rtol=CLOSE)
    learns = any(True for _ in module.parameters())
    if learns != bool(subject.contract.get("has_parameters", learns)):
        raise ConformanceError(f"it has {'' if learns else 'no '}parameters; declare contract(has_parameters={learns})")


def compiles(subject: Subject) -> None:
    """Check that torch.compile(fullgraph=True) compiles the loss, with the same value and gradients."""
    if not subject.contract.get("compiles", True):
        raise NotApplicable("compiles=False in the contract: the loss does not compile to one graph")
    torch.compiler.reset()
    try:
        inputs, module = subject.case.inputs(), subject.build()
        compiled: Any = torch.compile(module, fullgraph=True, backend="aot_eager")
        value, gradients = subject.gradients(compiled, inputs)
        expected, wanted = subject.gradients(module, inputs)
    finally:
        torch.compiler.reset()
    same(value, expected, "the loss, compiled and not,", rtol=1e-5)
    for one, other in zip(gradients, wanted, strict=True):
        same(one, other, "the gradients, compiled and not,", rtol=1e-4, atol=1e-7)


def manifest_in_step(subject: Subject) -> None:
    """Check that the manifest equals the code, and that every parameter has a description."""
    entry = subject.entry
    if entry is None:
        raise NotApplicable("the loss is not registered")
    missing = [name for name, schema in parameters(entry)["properties"].items() if not schema.get("description")]
    if missing:
        raise ConformanceError(
            f"parameters {', '.join(missing)} have no description; add them to Args in the docstring"
        )
    package = entry.target.partition(":")[0].partition(".")[0]
    if not manifest_writer.is_declared(package):
        raise NotApplicable(f"{package} has no manifest")
    written = manifest.read(package, manifest.FILE_NAME)["losses"].get(entry.name)
    if written != _generated(package)["losses"].get(entry.name):
        raise ConformanceError(f"the manifest differs from the code; run `lossreg manifest build {package}`")


@cache
def _generated(package: str) -> dict[str, Any]:
    try:
        return manifest_writer.generate(package, beside=manifest.read(package, manifest.FILE_NAME))
    except ManifestError as error:
        raise ConformanceError(f"its manifest cannot be generated: {error}") from error


def _twin(subject: Subject, copied: Any) -> None:
    module, inputs = subject.build(), subject.case.inputs()
    twin = copied(module)
    if type(twin) is not type(module):
        raise ConformanceError(f"the copy is a {type(twin).__name__}, the loss a {type(module).__name__}")
    same(subject.value(twin, inputs), subject.value(module, inputs), "the loss and its copy", rtol=CLOSE)


def _repeatable(subject: Subject) -> None:
    if not subject.contract.get("deterministic", True):
        raise NotApplicable("deterministic=False in the contract: the loss draws random numbers for each example")
