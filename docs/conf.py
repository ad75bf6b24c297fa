"""Settings of Sphinx, for `make docs`. The sources are the tree itself: links between pages are those of the files."""

from pathlib import Path

from docutils.nodes import document
from pygments.lexers.special import TextLexer
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx

project = "w2s"
extensions = ["myst_parser"]
root_doc = "docs/index"
include_patterns = ["*.md", "docs/*.md", "experiments/**.md", "findings/*.md", "results/**.md"]
exclude_patterns = [".*", "build", "out"]
suppress_warnings = [
    "toc.not_included",
    "myst.header",
]  # pages of results are linked, and begin as reports do
myst_heading_anchors = 4  # as on a forge: every heading can be linked to
highlight_language = "none"  # blocks without a language are commands and what they print
html_theme = "alabaster"
html_theme_options = {
    "description": "Weak-to-strong reasoning, as cached steps",
    "fixed_sidebar": True,
    "page_width": "1240px",
}
html_copy_source = False


def folders_as_text(app: Sphinx, page: document) -> None:
    """A link to a folder, which a forge lists and the pages do not, is text here. Any other is a dead link."""
    for link in list(page.findall(pending_xref)):
        if (Path(app.srcdir, app.env.docname).parent / link["reftarget"]).is_dir():
            link.replace_self(link.children)


def setup(app: Sphinx) -> None:
    """Show diagrams as text: what draws them would be fetched from outside."""
    app.add_lexer("mermaid", TextLexer)
    app.connect("doctree-read", folders_as_text)
