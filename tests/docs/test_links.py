"""No link within the tree leads nowhere, on a page that people read."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.docs.pages import PAGES, anchors, links, name_of
from tests.tiny import REPOSITORY


def dead_links(page: Path) -> list[str]:
    """The relative links of a page whose file or heading is not there."""
    return [
        target for target in links(page) if not urlsplit(target).scheme and not leads_somewhere(page, target)
    ]


def leads_somewhere(page: Path, target: str) -> bool:
    parts = urlsplit(target)
    place = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if not place.exists() or not parts.fragment:
        return place.exists()
    return place.suffix == ".md" and unquote(parts.fragment) in anchors(place)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_of_a_page_leads_to_a_file_and_a_heading(page: Path) -> None:
    assert not dead_links(page)


def test_the_pages_are_linked_to_each_other() -> None:
    assert sum(len(list(links(page))) for page in PAGES) > 100
    reached = {
        (REPOSITORY / "docs" / target.partition("#")[0]).resolve()
        for target in links(REPOSITORY / "docs/index.md")
    }
    assert {*(REPOSITORY / "docs").glob("*.md")} <= reached | {REPOSITORY / "docs/index.md"}


def test_a_dead_link_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "b.md").write_text("# What is in a key, and why\n\n## `w2s` & more\n")
    page = tmp_path / "a.md"
    page.write_text(
        "[a](b.md) [b](b.md#what-is-in-a-key-and-why) [c](#no) ![d](d.png) [e](b.md#w2s) <https://x.org/no>\n\n"
        "| a |\n|---|\n| [f](c.md) `[g](g.md)` [h](b.md#w2s--more) |\n\n```\n[i](i.md)\n```\n"
    )
    assert dead_links(page) == ["#no", "d.png", "b.md#w2s", "c.md"]
