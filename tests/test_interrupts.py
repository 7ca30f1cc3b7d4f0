"""Ctrl-C during the first use of a process leaves everything usable: the next call works."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.tools

# Each registration of an operator is interrupted twice, before and after it took place.
OPERATORS = """
import importlib
import torch, lossreg
from torch._library.custom_ops import CustomOpDef

interrupted = set()

def interrupting(module, name):
    real = getattr(module, name)
    def call(*arguments, **options):
        key = name, str(arguments[0])
        if "lossreg::" not in key[1]:  # torch's own
            return real(*arguments, **options)
        if key not in interrupted:
            interrupted.add(key)
            raise KeyboardInterrupt
        result = real(*arguments, **options)
        if (*key, "after") not in interrupted:
            interrupted.add((*key, "after"))
            raise KeyboardInterrupt
        return result
    setattr(module, name, call)

interrupting(torch.library, "custom_op")
interrupting(CustomOpDef, "register_fake")
interrupting(CustomOpDef, "register_autograd")
attempts = 0
while True:
    attempts += 1
    assert attempts < 100
    try:
        importlib.import_module("lossreg_segmentation")
        dice, cldice, hausdorff = (lossreg.build(name) for name in ("dice", "cldice", "hausdorff"))
        break
    except KeyboardInterrupt:
        pass
input = torch.zeros(1, 1, 8, 8, requires_grad=True)
target = torch.eye(8).reshape(1, 1, 8, 8)
for loss in (dice, cldice, hausdorff):
    loss(input, target).backward()
compiled = torch.compile(dice, backend="aot_eager", fullgraph=True)
torch.testing.assert_close(compiled(input, target), dice(input, target))
for name in ("statistics.op", "statistics.graph", "skeleton", "distance"):  # as a notebook reloads them
    importlib.reload(importlib.import_module(f"lossreg_segmentation.{name}"))
cldice(input, target).backward()
compiled = torch.compile(lossreg.build("bce"), backend="aot_eager", fullgraph=True)
assert torch.isfinite(compiled(input, target))
print("interrupts", len(interrupted), attempts - 1)
"""

# Children of one process, each interrupted at another moment of its first build.
FIRST_USE = """
import os, signal, time
import pydantic, torch
import lossreg.config.factory

def child(after):
    def interrupt(*_):
        raise KeyboardInterrupt
    signal.signal(signal.SIGALRM, interrupt)
    began = time.monotonic()
    try:
        signal.setitimer(signal.ITIMER_REAL, after)
        lossreg.build("dice")
        signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        found = 1
    else:
        found = 0
    took = time.monotonic() - began
    input = torch.zeros(1, 1, 8, 8, requires_grad=True)
    lossreg.build("dice")(input, torch.eye(8).reshape(1, 1, 8, 8)).backward()
    assert lossreg.build("bce_dice_focal") is not None
    hooks = lossreg.registries.hooks()
    assert not [*lossreg.losses.failures, *lossreg.parts.failures, *hooks.failures]
    assert len(lossreg.losses) > 30
    return found, took

def run(after):
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        code = 70
        try:
            found, took = child(after)
            os.write(write, str(took).encode())
            code = 10 + found
        except BaseException as error:
            print("after", after, type(error).__name__, error, flush=True)
        os._exit(code)
    _, status = os.waitpid(pid, 0)
    os.close(write)
    took = os.read(read, 100).decode()
    os.close(read)
    return os.waitstatus_to_exitcode(status), float(took or 0)

run(1000)  # compiles the modules
code, whole = run(1000)
assert code == 10, code
codes = [run(whole * (index + 0.5) / COUNT)[0] for index in range(COUNT)]
assert {*codes} <= {10, 11}, codes
print("interrupted", codes.count(11))
"""


def _run(source):
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.split()


def test_operators_whose_registration_was_interrupted_are_registered_by_the_next_build():
    """torch allows each name once, so a half-registered operator would break every mask loss until a restart.

    A module that is reloaded registers its operators again, too.
    """
    _, interrupts, attempts = _run(OPERATORS)
    assert interrupts == attempts
    assert int(interrupts) == 46  # 9 operators, 9 results without values, 5 gradients, each before and after


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_first_build_that_was_interrupted_is_repaired_by_the_next():
    """Scan, hooks, and imports of packages, each at some moment."""
    _, interrupted = _run(FIRST_USE.replace("COUNT", "20"))
    assert int(interrupted) >= 5
