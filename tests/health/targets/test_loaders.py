"""Targets of datasets and loaders."""

import struct
import sys

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

from lossreg.errors import LossregError
from lossreg.health.targets.keys import KEYS
from lossreg.health.targets.report import Unreadable
from lossreg.health.targets.sources import read_targets

from .masks import Image, read, shares


class Masks(Dataset):
    """Masks with 0, 1, 2, ... ones; `item` turns each into an item."""

    def __init__(self, item=lambda mask: mask, count=4):
        self.item, self.count = item, count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        mask = torch.zeros(4, 4)
        mask.view(-1)[:index] = 1
        return self.item(mask)


class Stream(IterableDataset):
    """The same masks without an index, but with a length."""

    def __len__(self):
        return 4

    def __iter__(self):
        return (Masks()[index] for index in range(4))


@pytest.fixture
def loader(monkeypatch, tmp_path):
    """Return a function that reads an object of the user's own module."""
    module = type(sys)("acme_targets")
    monkeypatch.setitem(sys.modules, "acme_targets", module)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)

    def reader(value, **options):
        module.it = value
        return read("acme_targets:it", **options)

    return reader


@pytest.mark.parametrize(
    "source",
    [
        Masks(),
        Masks(lambda mask: (torch.rand(3, 4, 4), mask)),
        Masks(lambda mask: [torch.rand(3, 4, 4), mask[None], {"id": 1}]),
        Masks(lambda mask: (torch.rand(3, 4, 4), {"masks": mask, "labels": torch.tensor(1)})),
        *(Masks(lambda mask, key=key: {"image": 1, key: mask}) for key in KEYS),
        *(
            Masks(lambda mask, item=item: item(torch.rand(3, 4, 4), mask))
            for item in (
                lambda image, mask: {"image": image, "target": {"mask": mask, "id": 3}},
                lambda image, mask: {"pixel_values": image, "targets": {"boxes": image, "masks": mask}},
                lambda image, mask: {"sample": {"image": image, "annotation": mask}, "path": "a.png"},
                lambda image, mask: (image, {"target": {"semantic_mask": mask}}),
                lambda image, mask: (image, 7, mask),
                lambda image, mask: (image, "a.png", 7, mask, mask),
                lambda image, mask: (image, None, mask),
                lambda image, mask: (image, (7, mask)),
                lambda image, mask: (image, (7, Image.fromarray(mask.numpy().astype("uint8")))),
                lambda image, mask: (image, {"boxes": image}, {"masks": mask}),
                lambda image, mask: (image, mask.tolist()),
                lambda image, mask: (image, tuple(map(tuple, mask.tolist()))),
            )
        ),
        DataLoader(Masks(lambda mask: (mask, 7, mask)), batch_size=3),
        DataLoader(Masks(lambda mask: {"image": mask, "target": {"mask": mask}}), batch_size=3),
        Masks(lambda mask: Image.fromarray(mask.numpy().astype("uint8"))),
        Masks(lambda mask: mask[None, None]),
        Stream(),
        lambda: Masks(),
        lambda: iter(Masks()[index] for index in range(4)),
        Masks,
        [Masks()[index] for index in range(4)],
        torch.stack([Masks()[index] for index in range(4)]),
        DataLoader(Masks(), batch_size=3),
        DataLoader(Masks(lambda mask: (mask, mask[None])), batch_size=3),
        DataLoader(Masks(lambda mask: (mask, {"mask": mask.expand(2, 4, 4).bool()})), batch_size=3),
        DataLoader(Masks(), batch_size=None),
        DataLoader(
            Masks(lambda mask: (mask, {"mask": mask})), batch_size=3, collate_fn=lambda it: list(zip(*it, strict=True))
        ),
        DataLoader(Stream(), batch_size=3),
    ],
)
def test_every_kind_of_loader(loader, source):
    """Each has masks of 0, 1, 2 and 3 ones."""
    counts = shares(loader(source))
    planes = 2 if isinstance(source, DataLoader) and counts[1] == 2 else 1
    assert counts == [0, planes, 2 * planes, 3 * planes]


def test_the_rest_of_a_batch_and_its_names(loader):
    """The last batch is smaller."""
    names = [each.name for each in loader(DataLoader(Masks(), batch_size=3))]
    assert names == ["batch 0, item 0", "batch 0, item 1", "batch 0, item 2", "batch 1, item 0"]


def test_batches_without_a_data_loader(loader):
    """(B, 1, H, W) cannot be one mask; (B, H, W) may be planes or slices, and counts as one."""
    batch = torch.stack([Masks()[index] for index in range(3)])
    assert shares(loader(lambda: iter([batch[:, None]]))) == [0, 1, 2]
    assert shares(loader(lambda: iter([batch]))) == [3]


def test_a_limit_of_a_loader(loader):
    """Spread where there is an index, the first elsewhere; no more is read than that."""
    assert shares(loader(Masks(count=8), limit=2)) == [0, 4]
    assert shares(loader(Stream(), limit=2)) == [0, 1]

    def endless():
        while True:
            yield torch.ones(2, 2)

    assert len(loader(endless, limit=5)) == 5


def test_a_broken_sample_is_reported_and_the_others_are_read(loader):
    """With an index. An iteration ends with its error."""

    def item(mask):
        return mask if mask.sum() != 1 else struct.unpack("i", b"")

    found = loader(Masks(item))
    assert shares(found[:1] + found[2:]) == [0, 2, 3]
    assert found[1] == Unreadable("item 1", "error: unpack requires a buffer of 4 bytes")
    found = loader(DataLoader(Masks(item), batch_size=1))
    assert (shares(found[:1]), len(found)) == ([0], 2)
    assert found[1].reason == "error: unpack requires a buffer of 4 bytes; no later targets are read"


@pytest.mark.parametrize(
    "item, reason",
    [
        (
            {"image": 1, "id": 2},
            "no mask under mask, masks, segmentation_mask, semantic_mask, segmentation, annotation, seg, gt, target, "
            "targets, label, labels; the keys are image, id; "
            "name a function that returns the masks",
        ),
        ((torch.rand(3, 4, 4), 7), "expected a mask (H, W), got the number 7; a class label is not a mask"),
        ((torch.rand(3, 4, 4), torch.ones(5)), "shape (5,); a mask is (H, W), (1, H, W) or (C, H, W)"),
        ("text", "expected booleans, integers or floats, got dtype <U4"),
    ],
)
def test_items_without_a_mask(loader, item, reason):
    """Each is reported; nothing is guessed."""
    found = loader([item, item])
    assert found == [Unreadable("item 0", reason), Unreadable("item 1", reason)]


def test_batches_of_labels_are_no_masks(loader):
    """As of classification."""
    (found,) = loader(DataLoader([(torch.rand(3), 1), (torch.rand(3), 0)], batch_size=2))
    assert found.reason == "shape (2,); a batch of masks is (B, H, W), (B, 1, H, W) or (B, C, H, W)"


def raising():
    raise RuntimeError("no data disk")


@pytest.mark.parametrize(
    "value, text",
    [
        ({"train": 1, "val": 2}, "got a mapping with keys train, val; name a function that returns one of the values"),
        (
            3,
            "expected a Dataset, a DataLoader, an iterable or a function without arguments that returns one, got int",
        ),
        (lambda: "text", "a function without arguments that returns one, got str"),
        (lambda root: root, "(root) needs arguments; name a function without arguments that returns the dataset"),
        (raising, "calling it raised RuntimeError: no data disk"),
    ],
)
def test_objects_that_are_no_loader(loader, value, text):
    """The error comes at once."""
    with pytest.raises(LossregError) as caught:
        loader(value)
    assert str(caught.value).startswith("acme_targets:it")
    assert text in str(caught.value)


def test_modules_of_the_current_directory(monkeypatch, tmp_path):
    """As `python -m` finds them; the message of a failure contains its own error."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "acme_data.py").write_text("class Here:\n    masks = [(None, [[1, 0], [0, 0]])]\n")
    (tmp_path / "acme_broken.py").write_text("import acme_gone_away\n")
    assert shares(read("acme_data:Here.masks")) == [1]
    for name, text in {
        "acme_data:there": "acme_data:there: unknown name 'there'; the public names are Here",
        "acme_nowhere:x": "acme_nowhere:x: importing acme_nowhere raised ModuleNotFoundError: No module named",
        "acme_broken:x": "importing acme_broken raised ModuleNotFoundError: No module named 'acme_gone_away'",
    }.items():
        with pytest.raises(LossregError) as caught:
            read_targets(name)
        assert text in str(caught.value)
    sys.modules.pop("acme_data")
