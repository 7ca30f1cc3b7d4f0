"""Imports of each function, in fresh processes."""

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.tools

HEAVY = ("torch", "pydantic", "numpy", "yaml", "typer", "rich", "lossreg_segmentation", "lossreg_sam")


# A checkout also has the example's package, with one entry point: its tags are known after its import.
FIRST_PARTY = os.environ | {"LOSSREG_ONLY": "lossreg,segmentation,sam"}


def imported(code):
    """Return the heavy packages that a fresh process has imported after this code."""
    show = f"import json, sys; print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    command = [sys.executable, "-c", f"{code}\n{show}"]
    run = subprocess.run(command, capture_output=True, text=True, check=True, env=FIRST_PARTY)
    return set(json.loads(run.stdout))


@pytest.mark.parametrize(
    "code, packages",
    [
        ("import lossreg; assert 'dice' in lossreg.losses.list(); dir(lossreg); repr(lossreg.losses)", set()),
        ("import lossreg; assert lossreg.losses.find('sam & calibration & !mixture') == ['iou_prediction']", set()),
        ("import lossreg; lossreg.losses.entry('dice'); 'x' in lossreg.losses; len(lossreg.losses)", set()),
        (
            "import lossreg\ntry: lossreg.losses.get('dicee')\nexcept KeyError: pass\nelse: 1 / 0",
            set(),
        ),
        (
            "import lossreg; lossreg.validate({'name': 'weighted_sum', 'params': {'terms': ['dice', 'sam']}})",
            {"pydantic"},
        ),
        ("import lossreg; lossreg.json_schema()", set()),
    ],
    ids=["list", "find", "entry", "mistyped", "validate", "schema"],
)
def test_looking_and_validating_import_neither_torch_nor_a_plugin(code, packages):
    """With every first-party plugin installed. Listing does not need pydantic either."""
    assert imported(code) == packages


LIBRARIES = ("monai", "kornia", "segmentation_models_pytorch", "pytorch_metric_learning", "timm", "torchvision", "piq")


def test_every_listed_loss_validates_without_torch_pydantic_or_its_library():
    """Its smallest config is completed from its manifest, as in `lossreg validate`."""
    code = f"""
import sys, lossreg
from lossreg.config.validation import complete
validated = 0
for entry in lossreg.losses.entries():
    if "parameters" in entry.metadata:  # the others have one entry point, and parameters only in their class
        complete({{"name": entry.full_name, "params": dict(entry.metadata.get("example", {{}}))}})
        validated += 1
print(validated, sorted({{"torch", "pydantic", *{LIBRARIES!r}}} & {{*sys.modules}}))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    count, found = run.stdout.split(maxsplit=1)
    assert int(count) >= 200
    assert found == "[]\n"


def test_building_imports_them(torch):
    """The test above would notice an import."""
    assert imported("import lossreg; lossreg.build('dice')") >= {"torch", "pydantic", "lossreg_segmentation"}
