"""A job of two ranks for test_ranks.py: the events and the stop of each, as JSON."""

import json
import logging
import sys
import warnings
from datetime import timedelta

import torch
from torch import distributed

from lossreg.health import HealthError, LossMonitor, NonFinite

PLANS = {  # losses of rank 0 and rank 1; nan is what the rule finds
    "stop": ([0.5] * 12, [0.5] * 5 + ["nan"] + [0.5] * 6),
    "raise": ([0.5] * 12, [0.5] * 5 + ["nan"] + [0.5] * 6),
    "uneven": ([0.5] * 4, [0.5] * 20),
    "uneven stop": ([0.5] * 2, [0.5] * 13 + ["nan"] + [0.5] * 6),
    "left over": ([0.5] * 9, [0.5] * 8 + ["nan"]),
    "warn": ([0.5] * 3, [0.5] * 12),
}


class Lines(logging.Handler):
    """The messages that lossreg.health logs."""

    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


def train(losses, action):
    """Return the number of updates, the steps of the events, and the state of should_stop."""
    monitor = LossMonitor([NonFinite(action=action)], every=3, sinks=[])
    done, steps = 0, []
    for number, loss in enumerate(losses, 1):
        done = number
        steps += [event.step for event in monitor.update(torch.tensor(float(loss)))]
        if monitor.should_stop:
            break
    steps += [event.step for event in monitor.close()]
    return {"updates": done, "events": steps, "stop": monitor.should_stop}


def main():
    distributed.init_process_group("gloo", timeout=timedelta(seconds=300))
    rank = distributed.get_rank()
    warnings.simplefilter("ignore")
    found, log = {}, Lines()
    logging.getLogger("lossreg.health").addHandler(log)
    for name, plan in PLANS.items():
        action = name if name in ("raise", "warn") else "stop"
        try:
            found[name] = train(plan[rank], action)
        except HealthError as error:
            found[name] = {"error": str(error), "event": error.event is not None}
        found[name]["log"], log.lines = log.lines, []
    distributed.barrier()
    distributed.destroy_process_group()
    with open(f"{sys.argv[1]}/{rank}.json", "w") as file:
        json.dump(found, file)


if __name__ == "__main__":
    main()
