"""The pages that a reader follows, and what stands in them."""

import functools
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.tiny import REPOSITORY

PAGES = (
    *(REPOSITORY / f"{name}.md" for name in ("README", "ARCHITECTURE", "CONTRIBUTING", "PROMISES")),
    *sorted((REPOSITORY / "docs").glob("*.md")),
    *sorted((REPOSITORY / "experiments").rglob("*.md")),
    *sorted((REPOSITORY / "results").rglob("*.md")),
    REPOSITORY / "findings/README.md",
)
MANUAL = (REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md")))
"""The pages that show commands and code to type."""


def name_of(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


@functools.cache
def tokens(page: Path) -> list[Token]:
    """All tokens of a page, those within lines included."""
    parsed = MarkdownIt("commonmark").enable("table").parse(page.read_text())
    return [part for token in parsed for part in (token, *(token.children or ()))]


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a language."""
    return [token.content for token in tokens(page) if token.type == "fence" and token.info == language]


def links(page: Path) -> Iterator[str]:
    """Where links and images lead."""
    for token in tokens(page):
        if target := token.attrGet("href") or token.attrGet("src"):
            yield str(target)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as forges and the generator of the pages make them."""
    texts = [
        "".join(child.content for child in after.children or ())
        for heading, after in pairwise(tokens(page))
        if heading.type == "heading_open"
    ]
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in texts}
