"""Brackets and commas of an answer: what stands inside, where a list parts, and which commas part thousands."""

import re
from collections.abc import Iterator

MAX_NESTING = 30
"""Brackets inside each other. A text with more is compared as a text."""
_TOKENS = re.compile(r"\\[{}]|\\begin\{\w+\}|\\end\{\w+\}|\\[A-Za-z]+|\\.|.", re.DOTALL)
_OPENS = ("(", "[", "{", r"\{", r"\langle")
_CLOSES = (")", "]", "}", r"\}", r"\rangle")


def depths(text: str) -> Iterator[tuple[str, int, int]]:
    """Each token with its place and the number of brackets that are open behind it; any bracket closes any."""
    depth = 0
    for token in _TOKENS.finditer(text):
        sign = token.group()
        depth += (sign in _OPENS or sign.startswith(r"\begin")) - (
            sign in _CLOSES or sign.startswith(r"\end")
        )
        yield sign, token.start(), depth


def inside_of(text: str) -> tuple[str, str] | None:
    """The brackets around a whole text, as a kind, and what they hold."""
    opening = next((sign for sign in reversed(_OPENS) if text.startswith(sign)), None)
    if opening is None:
        return None
    for sign, place, depth in depths(text):
        if depth <= 0:
            if place + len(sign) != len(text):
                return None
            kind = _kind(opening, sign)
            return (kind, text[len(opening) : place].strip()) if kind else None
    return None


def _kind(opening: str, closing: str) -> str | None:
    if opening == "{":
        return "{}" if closing == "}" else None
    if opening == r"\{":
        return "set" if closing == r"\}" else None
    if opening == r"\langle":
        return "()" if closing == r"\rangle" else None
    return opening + closing if closing in (")", "]") else None


def split_at(text: str, separators: str) -> list[tuple[str, bool]]:
    """The parts of a text between separators outside brackets, each with whether a blank stands before it."""
    parts: list[tuple[str, bool]] = []
    start = 0
    for sign, place, depth in depths(text):
        if depth == 0 and sign in separators and len(sign) == 1:
            parts.append((text[start:place], text[start : start + 1].isspace()))
            start = place + 1
    return [*parts, (text[start:], text[start : start + 1].isspace())]


def has_comma(text: str) -> bool:
    """Whether the text is a list, with commas or semicolons outside brackets."""
    return len(split_at(text, ",;")) > 1


_GROUP_BEFORE = re.compile(r"(?<![\d.,])(?:[1-9]\d{0,2})(?:,\d{3})*$")
_GROUP_BEHIND = re.compile(r"\d{3}(?!\d)")
_LAKHS = re.compile(r"\d{1,2}(?:,\d{2})+,\d{3}")


def comma_readings(text: str, grouped_first: bool) -> list[list[str]]:
    """The items of a list: with commas that part thousands, and with commas that part items."""
    if _LAKHS.fullmatch(text):
        return [[text.replace(",", "")]]
    parts = split_at(text, ",;")
    plain_items = [part.strip() for part, _ in parts if part.strip()]
    grouped: list[str] = []
    zeros = False
    for part, blank in parts:
        if grouped and not blank and _GROUP_BEFORE.search(grouped[-1]) and _GROUP_BEHIND.match(part):
            zeros = zeros or part.startswith("0")
            grouped[-1] += f",{part}"
        else:
            grouped.append(part)
    grouped = [part.strip() for part in grouped if part.strip()]
    if grouped == plain_items:
        return [plain_items]
    # nobody writes 0 as 000, so such commas part thousands; inside brackets others part items first
    return [grouped] if zeros else [grouped, plain_items] if grouped_first else [plain_items, grouped]
