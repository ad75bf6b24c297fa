r"""Other ways to write a gold answer of MATH that mean the same: what a grader must not tell apart.

Each way is a function of the text; it gives None where it has nothing to change. They know the text alone, and nothing
of the package that is measured.
"""

import re
from collections.abc import Callable
from fractions import Fraction

Way = Callable[[str], str | None]

_WHOLE = re.compile(r"-?\d+")
_FRACTION = re.compile(r"(-?)\\[dt]?frac\{(\d+)\}\{(\d+)\}")
_TEXT = re.compile(r"\\text\{([^{}]*)\}")
_MATRIX = re.compile(r"(.*)\\begin\{pmatrix\}(.*)\\end\{pmatrix\}(.*)", re.DOTALL)
_PAIRS = {"(": r"\left(", ")": r"\right)", "[": r"\left[", "]": r"\right]"}


def _left(text: str) -> str | None:
    if r"\left" in text:
        return re.sub(r"\\(?:left|right)\s*", "", text)
    # braces of a command's argument stay; `\text{(C)}` is text, where \left is no command
    if r"\text" in text or not re.search(r"[()\[\]]", text):
        return None
    return re.sub(r"[()\[\]]", lambda bracket: _PAIRS[bracket[0]], text)


def _frac(text: str) -> str | None:
    return text.replace(r"\frac", r"\dfrac") if r"\frac" in text else text.replace(r"\dfrac", r"\frac")


def _tfrac(text: str) -> str | None:
    return re.sub(r"\\d?frac", r"\\tfrac", text)


def _slash(text: str) -> str | None:
    return f"{whole[1]}{whole[2]}/{whole[3]}" if (whole := _FRACTION.fullmatch(text)) else None


def _decimals(text: str) -> str | None:
    if _WHOLE.fullmatch(text):
        return f"{text}.0"
    whole = _FRACTION.fullmatch(text)
    if whole is None or Fraction(10**12 * int(whole[2]), int(whole[3])).denominator > 1:
        return None
    value = Fraction(int(whole[2]), int(whole[3]))
    digits = f"{value.numerator * 10**12 // value.denominator:013d}"
    return f"{whole[1]}{digits[:-12]}.{digits[-12:].rstrip('0') or '0'}"


def _doubled(text: str) -> str | None:
    if _WHOLE.fullmatch(text):
        return rf"\frac{{{2 * int(text)}}}{{2}}"
    whole = _FRACTION.fullmatch(text)
    return rf"{whole[1]}\frac{{{3 * int(whole[2])}}}{{{3 * int(whole[3])}}}" if whole else None


def _thousands(text: str) -> str | None:
    if _WHOLE.fullmatch(text):
        return f"{int(text):,}"
    return re.sub(r"(?<=\d),\\!\s*(?=\d{3})", ",", text)


def _thin(text: str) -> str | None:
    return f"{int(text):,}".replace(",", r",\!") if _WHOLE.fullmatch(text) else None


def _braced(text: str) -> str | None:
    return f"{int(text):,}".replace(",", "{,}") if _WHOLE.fullmatch(text) else None


def _text(text: str) -> str | None:
    return _TEXT.sub(r"\\textbf{\1}", text)


def _roman(text: str) -> str | None:
    return _TEXT.sub(r"\\mathrm{\1}", text)


def _plain(text: str) -> str | None:
    return whole[1] if (whole := _TEXT.fullmatch(text)) else None


def _reverse(text: str) -> str | None:
    r"""The members of `\{...\}`, of a union, or of a bare list, the other way round."""
    if r"\cup" in text and "," in text:
        return r" \cup ".join(reversed([part.strip() for part in text.split(r"\cup")]))
    inner = text.removeprefix(r"\{").removesuffix(r"\}")
    if "," not in text or re.search(r"[()\[\]]|\\text|\\!|,\d{3}|matrix", text):
        return None
    members = ", ".join(reversed([part.strip() for part in inner.split(",")]))
    return rf"\{{{members}\}}" if inner != text else members


def _matrix(text: str) -> str | None:
    return text.replace("pmatrix", "bmatrix")


def _array(text: str) -> str | None:
    whole = _MATRIX.fullmatch(text)
    return rf"{whole[1]}\begin{{pmatrix}}{whole[2].rstrip()} \\ \end{{pmatrix}}{whole[3]}" if whole else None


def _entries(text: str) -> str | None:
    return re.sub(r"(-?)(\d+)/(\d+)", r"\1\\frac{\2}{\3}", text) if "matrix" in text else None


def _degrees(text: str) -> str | None:
    return re.sub(r"\^\\circ$|\^\{\\circ\}$", " degrees", text)


def _product(text: str) -> str | None:
    return re.sub(r"(?<=\d)\s*(?=\\(?:sqrt|pi))", r" \\cdot ", text)


def _tight(text: str) -> str | None:
    r"""Without blanks, but those that end a command's name or stand in `\text`."""
    return None if r"\text" in text or r"\mbox" in text else re.sub(r"(?<!\\)\s+(?![a-zA-Z])", "", text)


def _loose(text: str) -> str | None:
    return (
        None
        if r"\text" in text or r"\mbox" in text
        else re.sub(r"(?<![\d\\,!])([-+=,])(?!\\!)", r" \1 ", text)
    )


WAYS: tuple[Way, ...] = (
    _frac, _left, _thousands, _decimals, _text, _reverse, _matrix, _slash, _thin, _tfrac, _roman, _array, _entries,
    _degrees, _product, _tight, _loose, _braced, _plain, _doubled,
    lambda text: f"  {text} ", lambda text: f"${text}$", lambda text: rf"\boxed{{{text}}}",
    lambda text: rf"\({text}\)", lambda text: f"{text}.", lambda text: rf"{text}\,", lambda text: f"{{{text}}}",
    lambda text: rf"\displaystyle {text}", lambda text: rf"\!{text}", lambda text: f"$${text}$$",
    lambda text: rf"\;{text}\ ", lambda text: rf"\textstyle {text}",
)  # fmt: skip


def respellings(text: str, count: int = 12) -> list[str]:
    """The first `count` ways to write a text otherwise, those that hang on its form before those that fit any."""
    spelled = dict.fromkeys(way(text) for way in WAYS)
    return [other for other in spelled if other is not None and other != text][:count]


_LAYOUT = re.compile(
    r"\\(?:left|right|!|,|\$)|\\(?:text|mbox)\{[^{}]*\}(?:\^\d)?|\^\{?\\circ\}?|\s|^[a-z]=|^\(([A-Z])\)$"
)
_MIXED = re.compile(r"(-?)(\d*)\\frac\{(\d+)\}\{(\d+)\}")
_DECIMAL = re.compile(r"-?\d*\.?\d+")


def crude(text: str) -> str | Fraction:
    """A text without layout, units and names, or its value: two golds of one crude form say the same."""
    text = _LAYOUT.sub("", text).replace(r"\dfrac", r"\frac").replace(",", "")
    text = re.sub(r"\\frac(\d)(\d)$", r"\\frac{\1}{\2}", text)
    if _DECIMAL.fullmatch(text):
        return Fraction(text)
    if (parts := _MIXED.fullmatch(text)) and int(parts[4]):
        value = int(parts[2] or 0) + Fraction(int(parts[3]), int(parts[4]))
        return -value if parts[1] else value
    return text
