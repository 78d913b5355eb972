"""The documentation's site: `make docs`."""

from __future__ import annotations

import lutmac

project = "lutmac"
author = "The lutmac authors"
copyright = "The lutmac authors"
version = release = lutmac.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc"]
source_suffix = {".md": "markdown"}
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
exclude_patterns = ["screenshots"]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
# Attributes called `bytes` are no targets for the type of that name.
suppress_warnings = ["ref.python"]
autodoc_default_options = {"members": True, "undoc-members": False}
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80
html_theme = "furo"
html_title = f"lutmac {release}"
html_static_path: list[str] = []
html_show_sphinx = False
