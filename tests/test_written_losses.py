"""The losses that the how-tos write pass the conformance kit: a reader copies them."""

import re
import sys
from importlib import import_module
from pathlib import Path

import pytest

from lossreg import losses
from lossreg.testing import check_loss

HOWTO = Path(__file__).parent.parent / "docs" / "howto"

pytestmark = [
    pytest.mark.tools,  # compiles each loss
    pytest.mark.skipif(
        not HOWTO.is_dir(), reason="the documentation lies in the checkout, and only the tests are here"
    ),
]


@pytest.mark.parametrize("page, name", [("write_a_loss", "mask_hinge"), ("contract_and_docstring", "brier")])
def test_the_loss_of_a_page_passes_the_kit(page, name, tmp_path, monkeypatch):
    """All checks but the comparison with a second formula, which the page does not have."""
    module = f"page_{page}"
    code = re.findall(r"```python\n(.*?)```", (HOWTO / f"{page}.md").read_text(encoding="utf-8"), re.DOTALL)[0]
    (tmp_path / f"{module}.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with losses.scope():
        import_module(module)
        results = check_loss(name, waive={"oracle": "the page has no second formula"})
    sys.modules.pop(module)
    passed = [result.check for result in results if result.outcome == "passed"]
    assert {"gradcheck", "half_precision", "bad_shapes", "batch_split", "compiles"} <= {*passed}
