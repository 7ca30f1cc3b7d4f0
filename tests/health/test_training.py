"""Real trainings of a small network: sound ones are silent, collapses are reported."""

import pytest
import torch
from torch import nn

import lossreg
from lossreg.health import LossMonitor

SIZE = 32
BATCH = 8
EPOCH = 40  # updates


def blobs(generator, share, radius=(4, 8)):
    """Make a batch of noisy images with one bright disc each, and masks, all but a share of them empty."""
    axis = torch.arange(SIZE).float()
    images, masks = [], []
    for _ in range(BATCH):
        centre = torch.rand(2, generator=generator) * SIZE
        size = torch.empty(()).uniform_(*radius, generator=generator)
        disc = (axis[:, None] - centre[0]) ** 2 + (axis[None, :] - centre[1]) ** 2 <= size**2
        mask = disc & (torch.rand((), generator=generator) < share)
        images.append(mask.float() + 0.3 * torch.randn(SIZE, SIZE, generator=generator))
        masks.append(mask)
    return torch.stack(images)[:, None], torch.stack(masks)[:, None].to(torch.uint8)


def network(bias=0.0):
    layers = [nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 1)]
    nn.init.constant_(layers[-1].bias, bias)
    return nn.Sequential(*layers)


def train(loss, *, share=1.0, rate=1e-2, bias=0.0, updates=4 * EPOCH, warm_up=0, every=10, seed=0, blind=False, **blob):
    """Return the events of a training, with the default rules."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model, events = network(bias), []
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    monitor = LossMonitor(every=every, sinks=[events.append], action=lambda event: None, loss=loss)
    for step in range(1, updates + 1):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, step / max(1, warm_up))
        images, masks = blobs(generator, share, **blob)
        logits = model(images * (not blind))
        output = lossreg.evaluate(loss, logits, masks)
        monitor.update(output, prediction=logits, target=masks, step=step)
        optimizer.zero_grad()
        output.total.backward()
        optimizer.step()
    monitor.close()
    return events


SOUND = {
    "all have foreground": {},
    "mostly empty masks": {"share": 0.2, "updates": 300},
    "tiny objects, of 0.1 % to 0.4 % of the pixels": {"radius": (0.6, 1.1)},
    "a long warm-up": {"warm_up": 120},
    "a prior of 1 %": {"bias": -4.595},
    "a prior of 1 % and a long warm-up": {"bias": -4.595, "warm_up": 120},
    "until nothing is left to learn": {"updates": 400},
    "a window at every update": {"every": 1},
}


@pytest.mark.tools  # trains for long
@pytest.mark.parametrize("settings", SOUND.values(), ids=SOUND)
def test_a_sound_training_is_silent(settings):
    """From the first step to the last, with bce_dice_focal and the default rules, except for information."""
    events = train(lossreg.build("bce_dice_focal"), **settings)
    assert [str(event) for event in events if event.severity != "info"] == []
    assert {event.rule for event in events} <= {"ZeroLoss"}  # of empty targets, late, when they are all right


def test_a_network_without_input_is_reported():
    """Images of zeros, as from a wrong key: it predicts the mean, except at the border with its padding."""
    events = train(lossreg.build("bce"), updates=EPOCH, every=5, blind=True)
    (event,) = events
    assert (event.rule, event.severity) == ("ConstantPrediction", "error")
    assert 0.02 < event.evidence["predicted"] < 0.5


COLLAPSING = {"from a bias": {"bias": -8.0, "rate": 1e-5}, "by a learning rate that is too high": {"rate": 1.0}}


@pytest.mark.parametrize("settings", COLLAPSING.values(), ids=COLLAPSING)
def test_a_collapse_is_reported_within_an_epoch(settings):
    """Cross-entropy, and nine masks in ten empty."""
    events = train(lossreg.build("bce"), share=0.1, updates=EPOCH, every=5, **settings)
    (collapse,) = [event for event in events if event.rule == "Collapse"]
    assert (collapse.severity, collapse.kind, collapse.evidence["all"]) == ("error", "fault", "zeros")
    assert collapse.step <= EPOCH
