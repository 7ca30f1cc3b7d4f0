"""Runs of the notebooks of examples/notebooks without Jupyter. `python tests/notebooks.py` stores their outputs."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent / "examples" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def run(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run the cells of code in one namespace; return it, and the notebook with what they print and draw."""
    import matplotlib

    matplotlib.use("Agg")
    notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    names: dict[str, Any] = {"__name__": "__main__"}
    codes = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for number, cell in enumerate(codes, start=1):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile("".join(cell["source"]), f"{path.name}, cell {number}", "exec", dont_inherit=True), names)
        cell["execution_count"], cell["outputs"] = number, [*_text(printed.getvalue()), *_pictures()]
    return names, notebook


def _text(printed: str) -> list[dict[str, Any]]:
    return [{"name": "stdout", "output_type": "stream", "text": printed.splitlines(keepends=True)}] if printed else []


def _pictures() -> list[dict[str, Any]]:
    """Return the open figures, small, and close them."""
    from matplotlib import pyplot
    from PIL import Image

    found = []
    for number in pyplot.get_fignums():
        drawn, file = io.BytesIO(), io.BytesIO()
        pyplot.figure(number).savefig(drawn, dpi=75, bbox_inches="tight")
        Image.open(drawn).convert("RGB").quantize(16).save(file, "png", optimize=True)  # a few KB
        data = {"image/png": base64.b64encode(file.getvalue()).decode()}
        found.append({"data": data, "metadata": {}, "output_type": "display_data"})
    pyplot.close("all")
    return found


if __name__ == "__main__":
    for each in map(Path, sys.argv[1:] or NOTEBOOKS):
        _, done = run(each)
        each.write_text(json.dumps(done, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(each.name, each.stat().st_size, "bytes")
