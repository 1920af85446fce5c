"""The site of these pages, by Sphinx: `make docs` builds it into var/docs.

The pages are plain Markdown that reads as well on a git host, so nothing here makes text: what is generated
(docs/reference.py) stands in the pages. A link to a file outside docs/ becomes a copy of that file in the site.
"""

from __future__ import annotations

import sys
from pathlib import Path

from cloudlb._version import __version__

sys.path.insert(0, str(Path(__file__).parent))

project = "cloudlb"
version = release = __version__
html_title = f"cloudlb {release}"

extensions = ["myst_parser", "state_tables"]
exclude_patterns = ["examples/*/build"]
nitpicky = True
highlight_language = "text"

# As git hosts make them, for links to a part of a page.
myst_heading_anchors = 4
# A drawing of Mermaid's needs a script from elsewhere, so the site has a table in its place.
myst_fence_as_directive = ["mermaid"]

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_show_sourcelink = False
html_copy_source = False
# Straight quotes and two hyphens are what is typed into a terminal.
smartquotes = False
