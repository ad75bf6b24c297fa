r"""The rule by which the authors' released outputs were graded: normalised strings that are identical.

Inferred from the released answers, which show what was cut; kept apart from `forms`, which compares values. In MATH too
everything up to the last "=" is cut, commas and blanks between digits are removed (`1,2` is `12`), and `\dfrac`, `π`
and a letter in brackets stay what they are. An answer begins behind the first marker of the last line that has one.

Where this rule is not the released one: the release lost letters of some answers (`\infty` is `\iny`, `\theta` is
`\thet`, a double backslash is a single one) and kept capital letters of words; nothing that is written as the model
wrote it equals such a string, so both sides are compared here without that damage.
"""

import re
import unicodedata
from typing import Final

from w2s_core.answers import extract as value_rule
from w2s_core.answers.characters import clean
from w2s_core.answers.letters import letters_of
from w2s_core.answers.limits import MAX_ANSWER
from w2s_core.answers.numbers import rational

# Where the answer stands -------------------------------------------------------------------------------------------

_MARKERS = {"gsm8k": re.compile("####"), "math": re.compile(r"[Tt]he (?:final )?answer is\b:?")}
_INLINE = re.compile(r"(?<!\\)\$((?:[^$\\]|\\.)+)\$")


def extract(response: str, rule: str) -> str | None:
    """The final answer as the released rule reads it: behind the *first* marker of the last line that has one.

    In MATH that is the last box there, or else the first formula between dollar signs. Anything else is as in
    `extract.extract`, the value rule: a line without two markers, a response without a marker, and `choice`.
    """
    answer = value_rule.extract(response, rule)
    marker = _MARKERS.get(rule)
    if answer is None or marker is None:
        return answer
    tail = _first_of_last_line(clean(response), marker)
    if tail is None:
        return answer
    if rule == "math":
        formula = _INLINE.search(tail)
        tail = value_rule.last_box(tail) or (formula[1] if formula else tail)
    return tail.strip() if 0 < len(tail.strip()) <= MAX_ANSWER else answer


def _first_of_last_line(text: str, marker: re.Pattern[str]) -> str | None:
    """What follows the first of several markers in the last line with one; None where that line has only one."""
    for line in reversed(text.rstrip().split("\n")):
        markers = list(marker.finditer(line))
        if markers:
            return line[markers[0].end() :] if len(markers) > 1 else None
    return None


# Its normalised string ---------------------------------------------------------------------------------------------

_EDGES = " \t\r\n*`\"',;:"
_MONEY_PERCENT = re.compile(r"(?<!\\)\\[$%]|[$%€£¥₹¢]")
_LATEX_SIGN = re.compile(r"[\\{}^_~]|pi\b")
_CHARACTERS: Final = {
    ord(sign): plain
    for sign, plain in zip(
        "−–—‐‑‒﹣－×·⋅÷⁄∕⁰¹²³⁴⁵⁶⁷⁸⁹٬٫％√∞≤≥≠",
        ["-"] * 8 + ["*"] * 3 + ["/"] * 3 + [f"^{digit}" for digit in range(10)]
        + [",", ".", "%", "\\sqrt ", "\\infty ", "\\le ", "\\ge ", "\\ne "],
        strict=True,
    )
}  # fmt: skip
_DEGREES = re.compile(r"\s?[°º]\s?(?:[CF]\b)?")


def normalise(answer: str, rule: str) -> str:
    """The string that the released grading compared; empty where nothing is left of the answer."""
    if (answer.isdigit() and answer.isascii()) or len(answer) > MAX_ANSWER:
        return answer
    if rule == "choice":
        return letters_of(answer) or answer.strip().casefold()
    text = answer if answer.isascii() else _plain_characters(answer)
    text = _plain_latex(text) if _LATEX_SIGN.search(text) else text
    text = _within_edges(_MONEY_PERCENT.sub("", text))
    text = _without_unit(_after_last_equals(text), _SET_OFF[rule])
    text = text if _LETTER.fullmatch(text) else _plain_number(text)
    return text.casefold() if text.replace(" ", "").isalpha() else text


def _plain_characters(text: str) -> str:
    text = _DEGREES.sub("", text).translate(_CHARACTERS)
    return "".join(_plain_character(char) for char in text)


def _plain_character(char: str) -> str:
    if char.isascii():
        return char
    if char.isdecimal():
        return str(unicodedata.decimal(char))
    plain = unicodedata.normalize("NFKC", char)
    return f" {plain.replace('⁄', '/')} " if "⁄" in plain else plain


_LAYOUT: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), plain)
    for pattern, plain in [
        (r"\\(?:left|right|[bB]igg?[lr]?)(?![A-Za-z])\.?", ""),
        (r"(?<!\\)\\[!()\[\]]", ""),
        (r"(?<!\\)\\[,;:> ]|~|\\(?:q?quad|displaystyle|limits)(?![A-Za-z])", " "),
        (r"\\frac\s*(\d)\s*(\d)", r"\\frac{\1}{\2}"),
        (r"\\frac\s*(\d)\s*\{", r"\\frac{\1}{"),
        (r"(\\frac\{[^{}]*\})\s*(\w)", r"\1{\2}"),
        (r"\\sqrt\s*(\w)", r"\\sqrt{\1}"),
        (r"\^\s*(?:\\circ|\{\s*\\circ\s*\})|\\degree(?![A-Za-z])", ""),
        (r"\\(?:text|mbox|textrm)\{\s*(?:and|or)\s*\}", ","),
        # a trailing \text{} behind a number or a closing bracket is a unit, with its exponent
        (r"(?<=[\d})])\s*\\(?:text|mbox|mathrm|textrm)\{[^{}\d]*\}(?:\^\{?\d\}?)?\s*\.?$", ""),
        (r"\\(?:text\w*|math(?:rm|bf|it)|mbox|boldsymbol|operatorname|boxed)\{([^{}]*)\}", r"\1"),
        (r"\\(?:cdot|times)(?![A-Za-z])", "*"),
        (r"([_^])\{(\w)\}", r"\1\2"),
        (r"(?<![A-Za-z\\])pi(?![A-Za-z])", r"\\pi"),
    ]
)


def _plain_latex(text: str) -> str:
    for pattern, plain in _LAYOUT:
        text = pattern.sub(plain, text)
    return text


def _within_edges(text: str) -> str:
    return text.strip(_EDGES).rstrip(_EDGES + ".")


def _after_last_equals(text: str) -> str:
    return _within_edges(text.rpartition("=")[2]) or text


_COUNT = r"([+-]?\s?(?:[\d,./]|(?<=\d) (?=\d))*\d)\.?"
# how a unit is set off from its number; in algebra `7-ab` and `7/ab` have no unit
_SET_OFF = {
    "gsm8k": re.compile(_COUNT + r"[ /-]\s*(?=[A-Za-z(])"),
    "math": re.compile(_COUNT + r" \s*(?=[A-Za-z(])"),
}
_WORDS = re.compile(r"[A-Za-z(][A-Za-z\s.,'’()/-]*")
_UNIT_POWER = re.compile(r"(?<=[A-Za-z])\^?\{?[23]\}?(?!\w)")
_UNIT_SYMBOLS = frozenset("gmshlLVW")
_SCALES = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}


def _without_unit(text: str, set_off: re.Pattern[str]) -> str:
    """The number alone where only words follow it, set off from it: `5 apples`, but not `5x`, `5 x`, `2 h 30 min`."""
    number = set_off.match(text)
    if not number:
        return text
    rest = _UNIT_POWER.sub("", text[number.end() :])
    words = re.findall(r"[A-Za-z]+", rest) if _WORDS.fullmatch(rest) else []
    if not words or not all(len(word) > 1 or word in _UNIT_SYMBOLS for word in words):
        return text
    scale = _SCALES.get(words[0].lower().removesuffix("s"))
    value = rational(_plain_number(number.group(1))) if scale else None
    return number.group(1) if scale is None or value is None else str(value * scale)


_GROUPED = re.compile(r"[+-]?(?:\d{1,3}(?:,\d{3})+|\d{1,3}(?: \d{3})+|\d{1,2}(?:,\d{2})+,\d{3})(?:\.\d*)?")
_DIGITS = re.compile(r"\d+(?:[, ]+\d+)*")
_BRACKETED = re.compile(r"\{\s*([-+]?[\d.,/]+|[A-Za-z])\s*\}|\(\s*([-+]?[\d./]+|[A-Za-z])\s*\)")
_LETTER = re.compile(r"\(\s*[A-Za-z]\s*\)")
_ZERO_TAIL = re.compile(r"([-+]?\d+)\.0*")
_SIGN_GAP = re.compile(r"^([-+])\s+(?=[\d.])")
_GAP = re.compile(r"(?<!\w)\s+|\s+(?!\w)")


def _plain_number(text: str) -> str:
    """Commas of thousands, a plus sign, brackets around it all, `.0` and blanks between signs taken out."""
    bracketed = _BRACKETED.fullmatch(text)
    text = _SIGN_GAP.sub(r"\1", bracketed[1] or bracketed[2] if bracketed else text)
    if _GROUPED.fullmatch(text) or _DIGITS.fullmatch(text):
        text = text.replace(",", "").replace(" ", "")
    whole = _ZERO_TAIL.fullmatch(text)
    text = whole.group(1) if whole else text
    text = text.removeprefix("+") if text[1:2].isdigit() else text
    return " ".join(_GAP.sub("", text).split())
