"""Pictures of a loss of masks: over the logit, on an empty mask, and as the prediction of a simple shape goes wrong.

from lossreg.authoring.plot import figures, svg

for panel, figure in figures("focal").items():
    Path(f"focal-{panel}.svg").write_text(svg(figure))
"""

from __future__ import annotations

from lossreg.authoring.plot.drawing import check_drawable, draw, figure, figures, svg
from lossreg.authoring.plot.panels import PANELS, Line, Panel, constant, panels

__all__ = ["PANELS", "Line", "Panel", "check_drawable", "constant", "draw", "figure", "figures", "panels", "svg"]
