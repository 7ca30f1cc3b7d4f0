"""The picture and the page of the speed against the size."""

import pytest
import torch


@pytest.fixture
def sizes(benchmarks):
    import sizes

    return sizes


@pytest.fixture
def point(sizes):
    """Compare 2 ms of ours with 5 eager, 3 and 8 of MONAI's losses, and a kornia that lacks the loss."""
    import measure
    import peers

    named = {"lossreg, numba": 2.0, "torch, eager": 5.0, "MONAI Dice": 8.0, "MONAI DiceFocal": 3.0}
    figures = [measure.Figures(peers.Peer(name, torch.sum), 0.5, time) for name, time in named.items()]
    figures.append(measure.Figures(peers.Peer("kornia Dice", None, "no binary form")))
    figures[2] = figures[2]._replace(peer=figures[2].peer._replace(differs="no smoothing"))
    return sizes.compared((4, 1, 64, 64), figures)


def test_each_kind_of_peer_has_the_speed_of_its_fastest(point):
    """5 / 2 and 3 / 2; the others have a reason."""
    assert point.milliseconds == 2.0
    assert point.faster == {"eager": 2.5, "MONAI": 1.5}
    reasons = {"compiled": "it has no such loss", "kornia": "no binary form", "smp": "it has no such loss"}
    assert point.missing == reasons


def test_the_page_has_a_line_for_each_size_and_the_reasons(sizes, point):
    """Empty cells where a kind has no figure."""
    lines = sizes.page({"dice": [point, point._replace(shape=(1, 1, 8, 8))]})
    assert "| 4x1x64x64 | 2 | 2.50 | | 1.50 | | |" in lines
    assert any(line.startswith("| 1x1x8x8 |") for line in lines)
    assert "- No kornia: no binary form." in lines
    assert "- MONAI Dice: no smoothing." in lines


@pytest.mark.tools
def test_the_picture_shows_every_loss_and_kind(sizes, point, tmp_path):
    """Matplotlib writes the text as paths, and the words as comments beside them."""
    found = {name: [point, point._replace(shape=(4, 1, 128, 128))] for name in sizes.LOSSES}
    sizes.draw(found, tmp_path / "sizes.svg")
    text = (tmp_path / "sizes.svg").read_text()
    for words in (*sizes.LOSSES, *sizes.KINDS):
        assert f"<!-- {words} -->" in text


def test_every_loss_of_the_picture_has_a_row(sizes):
    """The names are those of the rows."""
    from rows import rows

    assert set(sizes.LOSSES) <= {row.name for row in rows()}
