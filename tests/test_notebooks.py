"""The notebooks of examples/notebooks run without Jupyter, and their two trainings have the same curve."""

from __future__ import annotations

import json
import warnings

import pytest

from .notebooks import NOTEBOOKS, run

LIBRARIES = {
    "from_kornia": "kornia.losses",
    "from_monai": "monai.losses",
    "from_smp": "segmentation_models_pytorch.losses",
}

pytestmark = pytest.mark.skipif(not NOTEBOOKS, reason="the notebooks lie in the checkout, and only the tests are here")


def printed(notebook):
    """Texts below the cells of a notebook."""
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    return ["".join(output["text"]) for output in outputs if "text" in output]


def test_there_is_one_for_each_of_three_libraries():
    assert [path.stem for path in NOTEBOOKS] == [*LIBRARIES]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_stored_outputs_are_small(path):
    """A notebook shows its curves on the web, and takes less than 25 KB; no output is an error."""
    outputs = [output for cell in json.loads(path.read_text())["cells"] for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert all(output["output_type"] in ("stream", "display_data") for output in outputs)
    assert path.stat().st_size < 25_000


@pytest.mark.tools
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_curves_are_equal(path, torchvision_operators):
    """Each step of the two trainings has the same value, the loss falls, and the stored texts are printed again."""
    pytest.importorskip("skimage", reason="scikit-image is not installed: the notebooks need its photographs")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings of other libraries are not ours to fix
        pytest.importorskip(LIBRARIES[path.stem], reason=f"{LIBRARIES[path.stem]} is not installed")
        names, notebook = run(path)
    assert len(names["old"]) == len(names["new"]) == 60
    assert names["new"][:10] == pytest.approx(names["old"][:10], rel=1e-5)
    assert names["new"] == pytest.approx(names["old"], abs=1e-3)  # rounding grows from step to step
    assert names["new"][-1] < 0.8 * names["new"][0]
    assert printed(notebook) == printed(json.loads(path.read_text()))
