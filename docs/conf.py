"""The documentation's build: Markdown by MyST, Python by autodoc, the theme Furo."""

from hilum._version import __version__

project = "hilum"
author = "The hilum authors"
copyright = "2026, the hilum authors"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"hilum {__version__}"
html_static_path = []
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
autodoc_typehints = "description"
autodoc_member_order = "bysource"
napoleon_google_docstring = True
nitpicky = False
