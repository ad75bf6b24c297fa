"""The normal form of a question: two questions are one where their normal forms are equal. Pure, in linear time.

Case, spacing and punctuation do not count, and neither do forms of one character (full-width letters, curly quotes).
What tells two numbers or formulas apart does: decimal points, signs, superscripts, subscripts, fractions, brackets
around an operand. A question wrongly taken for a repeat is dropped from training, so in doubt two texts differ.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from itertools import accumulate, groupby

_SIGNS = str.maketrans(
    {
        **dict.fromkeys("−‐‑‒–﹣－", "-"),
        "―": "—",
        **dict.fromkeys("’‘ʼʹ´＇", "'"),
        **dict.fromkeys("⁄∕÷", "/"),
        **dict.fromkeys("×✕✖⋅∙∗", "*"),
        "∶": ":",
        "٫": ".",
        "٬": ",",
        "º": "°",
        "ª": "a",
        **dict.fromkeys("™℠…‥", " "),
    }
)
"""Signs that are written in several ways. It comes before the compatibility forms, which would mix them with text."""

_KEPT_PUNCTUATION = frozenset("—‰‱′·")
_KINDS = {"<super>": "^", "<sub>": "_", "<fraction>": "/"}
_WITHIN_WORDS = ("<wide>", "<narrow>", "<font>", "<initial>", "<medial>", "<final>", "<isolated>")

_COMPARISONS = {"<=": "≤", ">=": "≥", "!=": "≠"}
_COMPARISON = re.compile(r"<=|>=|(?<!\d)!=")  # 5!=120 is a factorial
_FACTORIAL = re.compile(r"(?<=[^\W_)])!(?=\s?[-+*/^=<>)?]|[.,;:$]|\s[a-z])")
_FEET = re.compile(r"(?<=\d)'(?=\s*\d)|(?<=\b[a-z])'(?=\s*\()")
_DOT_BETWEEN = re.compile(r"(?<=[^\W_])(\s*)·(?=\s*[^\W_])")
_BLANK = re.compile(
    r"(?<![^\W_)\]}])_|_(?!(?:[({\[]\s*)*(?:[-+]\s?)?[^\W_])"
)  # an underscore without a subscript
_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?!,?\d)")
_BRACKETS = str.maketrans("[]{}", "()()")
_TOKEN = re.compile(
    r"\d+(?:\.\d+)?|(?<!\w)\.\d+"  # a number: its decimal point is no punctuation
    r"|[—‰‱′]|[^\s\d\x00-@\[-`{-\x7f—‰‱′]+"  # a word, with the marks on its letters
    r"|[-:()%+*/^=<>~|_]"  # a sign, of which `_without_marks` leaves out what is punctuation here
)
_MARKS = frozenset("-:—")
_PARENTHESES = frozenset("()")
_OPERATORS = frozenset("+*/^=<>~|_≤≥≠√±-")


def normalise_question(text: str) -> str:
    """The normal form of a question; its own is itself.

    A text that is punctuation alone stays itself, so that "?" and "!" are not the same question.
    """
    # Most questions hold few of these signs, and looking for one is much faster than a pattern.
    plain = text
    if "!" in plain:  # before case is gone: a capital begins a sentence after "5!"
        plain = _FACTORIAL.sub(" factorial ", plain)
    if not plain.isascii():
        plain = unicodedata.normalize("NFC", plain).translate(_SIGNS)
        plain = _without_punctuation(_spelled_out(plain).casefold())
        plain = unicodedata.normalize("NFKC", plain).translate(_SIGNS)
    plain = plain.casefold()
    if "=" in plain:
        plain = _COMPARISON.sub(lambda sign: f" {_COMPARISONS[sign[0]]} ", plain)
    if "--" in plain:
        plain = re.sub("--+", "—", plain)
    if "'" in plain:
        plain = _FEET.sub(" ′ ", plain).replace("'", "")
    if "_" in plain:
        plain = _BLANK.sub(" ", plain)
    if "," in plain:
        plain = _THOUSANDS.sub(lambda number: number[0].replace(",", ""), plain)
    tokens = _TOKEN.findall(plain.translate(_BRACKETS))
    if not _MARKS.isdisjoint(tokens):
        tokens = _without_marks(tokens)
    if not _PARENTHESES.isdisjoint(tokens):
        tokens = _without_brackets(tokens)
    return " ".join(tokens).replace(" _ ", "_") or " ".join(text.split())


def _spelled_out(text: str) -> str:
    """The text with ASCII signs for superscripts (`^2`), subscripts (`_2`) and fractions (` 1/2`)."""
    return "".join(_SPELLINGS[kind]("".join(run)) for kind, run in groupby(text, _kind))


def _kind(character: str) -> str:
    """What a character stands for, beside itself: a key of `_SPELLINGS`."""
    tag, _, parts = (
        ("", "", "") if character.isascii() else unicodedata.decomposition(character).partition(" ")
    )
    if not tag.startswith("<") or tag in _WITHIN_WORDS:
        return ""
    return _KINDS.get(tag, "apart" if any(_is_number(part) for part in parts.split()) else "")


def _is_number(code: str) -> bool:
    return chr(int(code, 16)).isnumeric()


def _raised(sign: str) -> Callable[[str], str]:
    def spell(run: str) -> str:
        inner = unicodedata.normalize("NFKC", run).translate(_SIGNS)
        if inner in ("st", "nd", "rd", "th"):  # an ordinal number
            return inner
        return f"{sign}{inner} " if inner.isalnum() else f"{sign}({inner}) "

    return spell


def _fractions(run: str) -> str:
    """`2½` is `2 1/2`, and no `21/2`."""
    return "".join(f" {unicodedata.normalize('NFKC', sign).replace('⁄', '/')} " for sign in run)


def _apart(run: str) -> str:
    """Characters that stand for several, with a number among them, such as a circled one or a square metre's."""
    parts = (unicodedata.decomposition(sign).split()[1:] for sign in run)
    return "".join(f" {_spelled_out(''.join(chr(int(code, 16)) for code in codes))} " for codes in parts)


_SPELLINGS: dict[str, Callable[[str], str]] = {
    "": lambda run: unicodedata.normalize("NFKC", run),
    "^": _raised("^"),
    "_": _raised("_"),
    "/": _fractions,
    "apart": _apart,
}


def _without_punctuation(text: str) -> str:
    """Without what is punctuation beyond ASCII, and without characters that show nowhere, such as a soft hyphen.

    A sign stands apart from words, whether it is written so or not.
    """
    parts = []
    for character in _DOT_BETWEEN.sub("*", text):
        kind = "" if character.isascii() else unicodedata.category(character)
        if kind.startswith("S"):
            parts.append(f" {character} ")
        elif kind.startswith("P") and (character not in _KEPT_PUNCTUATION or character == "·"):
            parts.append(" ")
        elif kind != "Cf":
            parts.append(character)
    return "".join(parts)


def _without_marks(tokens: Sequence[str]) -> list[str]:
    """Without hyphens, dashes and colons that are punctuation: those that stand between no operands."""
    before, after = _neighbours(tokens, "()-"), _neighbours(tokens[::-1], "()-")[::-1]
    plain = []
    for token, left, right in zip(tokens, before, after, strict=True):
        if token == "-" and not _is_minus(left, right):
            continue
        if token == ":" and not (_is_numeral(left) and _is_numeral(right)):
            continue
        if token == "—":
            if not (_is_numeral(left) and _is_numeral(right)):
                continue
            token = "-"
        plain.append(token)
    return plain


def _neighbours(tokens: Sequence[str], passed_over: str) -> list[str]:
    """For each token the nearest before it that is none of some signs; "" where there is none."""
    nearest, last = [], ""
    for token in tokens:
        nearest.append(last)
        if token not in passed_over:
            last = token
    return nearest


def _is_minus(left: str, right: str) -> bool:
    """A hyphen before a number is a minus, and one between the letters of a formula; one between words is none."""
    return (
        _is_numeral(right)
        or (len(right) == 1 == len(left) and right.isalpha() and left.isalpha())
        or (len(right) == 1 and right.isalpha() and (_is_numeral(left) or left in _OPERATORS))
    )


def _is_numeral(token: str) -> bool:
    return token[-1:].isdecimal()


def _without_brackets(tokens: Sequence[str]) -> list[str]:
    """Without brackets but those around an operand: of an operator beside them, or of a product such as 2(3+4).

    Neighbours are looked for beyond other brackets, so that those that are left stay when this is done again.
    """
    before, after = _neighbours(tokens, "()"), _neighbours(tokens[::-1], "()")[::-1]
    words = list(accumulate((token not in "()" for token in tokens), initial=0))
    operators = list(accumulate((token in _OPERATORS for token in tokens), initial=0))
    grouping, starts = set(), []
    for place, token in enumerate(tokens):
        if token == "(":
            starts.append(place)
        elif token == ")" and starts:
            start = starts.pop()
            first = after[start]
            # a sign before a number is no operation
            operations = operators[place] - operators[start] - (first in _OPERATORS)
            inside = words[place] - words[start]
            beside = (before[start], after[place])
            if inside > 1 + (first in "+-") and _makes_operand(operations, beside):
                grouping |= {start, place}
    return [token for place, token in enumerate(tokens) if token not in "()" or place in grouping]


def _makes_operand(operations: int, beside: tuple[str, str]) -> bool:
    """Whether brackets change what a formula says: by the operations in them, and by what is before and after them."""
    if any(token in _OPERATORS for token in beside):
        return True
    return operations > 0 and any(_is_numeral(token) or len(token) == 1 for token in beside)
