"""Configuration of the site: `make docs` builds it from this folder, without a request to the network."""

from __future__ import annotations

import os
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

_project = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project = "lossreg"
author = "the lossreg authors"
copyright = f"2026, {author}"
version = os.environ.get("LOSSREG_DOCS_VERSION", "dev")
release = version

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx_copybutton",
    "sphinx_design",
    "contents",
    "repository",
    "docstrings",
    "python_reference",
    "python_names",
    "cli_reference",
    "formulas",
    "gallery",
    "llms",
    "versions",
]
exclude_patterns = ["_build", "_ext", "_static", "check"]
nitpicky = True

# Addresses: one constant each, in pyproject.toml.
site_url = _project["urls"]["Documentation"]
repository_url = f"{_project['urls']['Source']}/blob/main"

myst_enable_extensions = ["attrs_block", "attrs_inline", "colon_fence", "deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 4

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 80
add_module_names = False

smartquotes = False  # they would change code in prose

html_theme = "furo"
html_title = "lossreg"
html_static_path = ["_static"]
html_favicon = "_static/favicon.svg"
html_css_files = ["lossreg.css"]
html_js_files = [("versions.js", {"defer": "defer"})]
html_copy_source = False
html_show_sphinx = False
html_sidebars = {
    "**": [
        "sidebar/brand.html",
        "sidebar/search.html",
        "sidebar/versions.html",
        "sidebar/scroll-start.html",
        "sidebar/navigation.html",
        "sidebar/scroll-end.html",
    ]
}
html_theme_options = {
    "top_of_page_buttons": [],
    "light_css_variables": {"color-brand-primary": "#1b5fc1", "color-brand-content": "#1b5fc1"},
    "dark_css_variables": {"color-brand-primary": "#7cb2ff", "color-brand-content": "#7cb2ff"},
}
templates_path = ["_templates"]
