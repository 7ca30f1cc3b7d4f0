"""docs/start/sam_thin_structures.md, as it stands: a small SAM of transformers learns thin structures."""

from pathlib import Path

import torch
from PIL import Image

import lossreg

from ..pages import run_blocks
from .data import trainer

trainer("transformers")
DOCS = Path(__file__).parents[2] / "docs"
PICTURE = DOCS / "images" / "sam-thin-structures.png"


def test_the_tutorial_runs_as_it_stands(tmp_path, monkeypatch):  # over 10 s: a training of hundreds of steps
    """Every block; the picture has the size of the committed one; the model finds more than half of unseen vessels."""
    page = run_blocks(DOCS / "start" / "sam_thin_structures.md", tmp_path, monkeypatch)
    with Image.open(tmp_path / "sam-thin-structures.png") as drawn, Image.open(PICTURE) as kept:
        assert drawn.size == kept.size
    found = torch.cat([torch.from_numpy(picture) for picture in page["rows"]["found"]])
    target = torch.cat([torch.from_numpy(picture) for picture in page["rows"]["target"]])
    assert (found & target).sum() / target.sum() > 0.5
    assert (found & target).sum() / found.sum() > 0.5


def test_the_config_of_the_page_is_whole(tmp_path, monkeypatch):
    """Both losses, the weights and what happens to empty tiles: as on the page."""
    page = (DOCS / "start" / "sam_thin_structures.md").read_text()
    (tmp_path / "sam.yaml").write_text(page.partition("```yaml\n")[2].partition("```")[0])
    loss = lossreg.build(lossreg.read_config(tmp_path / "sam.yaml", at="loss"))
    masks, iou = torch.full((1, 3, 16, 16), -2.0, requires_grad=True), torch.zeros(1, 3)
    output = lossreg.evaluate(loss, masks, torch.zeros(1, 16, 16), iou)
    p = torch.sigmoid(torch.tensor(-2.0))
    torch.testing.assert_close(output.components["sam.dice"], p)  # each false pixel costs the same
    assert output.components["cldice"] == 0
    assert list(output.components) == ["sam.focal", "sam.dice", "sam.iou", "cldice"]
