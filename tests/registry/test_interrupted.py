"""Ctrl-C, at any moment and in any operation: the registry stays whole, and the next call works."""

import random
import signal
import sys
import threading
import time

import pytest

from lossreg import NotFoundError, Registry

from ..fakes import BASE, in_threads

HALF = """
    from acme_base import Module
    from acme_table import registry

    @registry.register("half", tags=["t"])
    class Half(Module):
        def helper(self):
            return HELPER

    registry.interrupt()
    HELPER = 5
"""
SLOW = """
    import time
    from acme_base import Module
    from acme_table import registry

    @registry.register("slow_{number}", tags=["t"])
    class Slow(Module): ...

    time.sleep(0.004)
    DONE = True
"""


@pytest.fixture
def table(site):
    """A registry that modules on disk can import."""
    site.module("acme_table", "registry = None")
    registry = Registry(BASE, name="losses")
    __import__("acme_table").registry = registry
    return registry


@pytest.mark.parametrize("lazy", ["half", "other_name"])
def test_a_module_interrupted_at_its_import_is_imported_again(site, table, lazy):
    """Its decorator has run, but the class of the half-imported module is not handed out."""
    site.module("acme_half", HALF)
    pending = [KeyboardInterrupt]

    def interrupt():
        if pending:
            raise pending.pop()

    table.interrupt = interrupt
    table.register_lazy(lazy, "acme_half:Half")
    with pytest.raises(KeyboardInterrupt):
        table.get(lazy)
    assert table.entry(lazy).state == "discovered"
    assert table.declarations == ()
    assert table.get(lazy)().helper() == 5
    assert table.get("half") is sys.modules["acme_half"].Half
    assert len(table) == 1


# Python's import leaves a file open that it is interrupted in.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="without timers of signals")
def test_interrupts_at_random_moments(site, table):
    """While 63 threads register, load, list, find and remove: nothing is lost, and all see the same at the end."""
    numbers = range(30)
    for number in numbers:
        site.module(f"acme_slow_{number}", SLOW.format(number=number))
        table.register_lazy(f"lazy_{number}", f"acme_slow_{number}:Slow", tags=["t"])
    module = __import__("acme_base").Module
    stop = threading.Event()

    def churn(index):
        kept = table.register(f"kept{index}", tags=["kept"])(type(f"Kept{index}", (module,), {}))
        made = [table.register(f"made{index}_{number}")(type("Made", (module,), {})) for number in range(3)]
        while not stop.is_set():
            cls = table.register(f"n{index}", tags=["n"])(type(f"N{index}", (module,), {}))
            assert table.get(f"n{index}") is cls
            assert f"n{index}" in table.find("n")
            table.unregister(f"n{index}")
            assert table.get(f"kept{index}") is kept
            assert [table.get(f"made{index}_{number}") for number in range(3)] == made
        return kept

    armed = []

    def raise_interrupt(_, frame):
        # Python itself may keep its import lock for ever when it is interrupted within importlib.
        if armed and frame is not None and not frame.f_code.co_filename.startswith("<frozen importlib"):
            raise KeyboardInterrupt

    results = []
    others = threading.Thread(target=lambda: results.append(in_threads(63, churn)), daemon=True)
    before = signal.signal(signal.SIGALRM, raise_interrupt)
    others.start()
    interrupted, rounds = 0, 0
    source = random.Random(5)
    operations = [
        lambda: table.get(f"lazy_{source.choice(numbers)}"),
        lambda: table.register("mine")(type("Mine", (module,), {})),
        lambda: table.unregister("mine"),
        lambda: table.find("t & !kept"),
        lambda: table.register_lazy("undone", "acme_base:Module")(),
        lambda: [*table.entries(), *table.declarations],
    ]
    deadline = time.monotonic() + 6
    try:
        while time.monotonic() < deadline:
            rounds += 1
            try:
                try:
                    armed.append(True)
                    signal.setitimer(signal.ITIMER_REAL, source.uniform(0.0001, 0.004))
                    source.choice(operations)()
                finally:
                    armed.clear()
            except KeyboardInterrupt:
                interrupted += 1
            except NotFoundError:
                assert "mine" not in table
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        stop.set()
        others.join(120)
    (kept,) = results
    assert interrupted > 20, (interrupted, rounds)
    assert [table.get(f"kept{index}") for index in range(63)] == kept
    classes = in_threads(64, lambda _: [table.get(f"lazy_{number}") for number in numbers])
    assert {tuple(found) for found in classes} == {tuple(sys.modules[f"acme_slow_{n}"].Slow for n in numbers)}
    assert all(sys.modules[f"acme_slow_{number}"].DONE for number in numbers)
    for number in numbers:
        assert table.entry(f"slow_{number}").full_name == f"local/lazy_{number}"
    assert [name for name in table.list() if name.startswith("n")] == []
