r"""The form of a final answer: numbers exactly, everything else as normalised text; and when two forms are the same.

Untrusted text again: nothing is evaluated, and lengths are bounded. What only algebra can decide is left to `grading`,
which can kill what it starts.
"""

import re
import unicodedata
from collections.abc import Mapping
from fractions import Fraction

MAX_ANSWER = 500
"""Characters. A longer final answer is a model that ran away: it counts as no answer."""
MAX_ALGEBRA = 300
"""Characters. Longer answers are compared as strings only."""


def canonical(answer: str, rule: str) -> str:
    r"""A key of the answer: equal keys are equal answers; two keys of numbers that differ are different answers.

    Numbers are exact (`0.50`, `1/2` and `\frac{1}{2}` give `1/2`; `1,080` gives `1080`); other answers give their
    normalised text. The empty key stands for nothing readable.
    """
    if answer.isdigit() and answer.isascii():
        return answer.lstrip("0") or "0"
    text = normalise(answer, rule)
    if rule == "choice" or len(text) > MAX_ANSWER:
        return text
    value = _rational(text)
    return _sorted_numbers(text) if value is None else str(value)


def normalise(answer: str, rule: str, released: bool = False) -> str:
    r"""The answer without what does not change its meaning: currency, percent, units, commas of thousands, layout.

    `0.50` and `0.5` stay different here. With `released`, as the authors' released grading did: everything up to the
    last "=" is cut in MATH too, and `\dfrac`, `π` and a letter in brackets stay what they are.
    """
    if (answer.isdigit() and answer.isascii()) or len(answer) > MAX_ANSWER:
        return answer
    if rule == "choice":
        return letters_of(answer) or answer.strip().casefold()
    characters = _AS_RELEASED if released else _CHARACTERS
    text = answer if answer.isascii() else _plain_characters(answer, characters)
    text = _plain_latex(text, released) if _LATEX_SIGN.search(text) else text
    text = _within_edges(_MONEY_PERCENT.sub("", text))
    if rule == "gsm8k" or released:
        text = _after_last_equals(text)
    text = _without_unit(text, _SET_OFF.get(rule, _SET_OFF["math"]))  # plug-ins' rules as MATH's
    text = text if released and _LETTER.fullmatch(text) else _plain_number(text)
    return text.casefold() if text.replace(" ", "").isalpha() else text


def compare(one: str, other: str) -> bool | None:
    """Whether two canonical keys are the same answer; None where only algebra can tell."""
    if one == other:
        return bool(one)
    if is_exact(one) and is_exact(other):
        return False
    if not (_is_algebra(one) and _is_algebra(other)):
        return False
    left, right = _ASSIGNMENT.match(one), _ASSIGNMENT.match(other)
    if bool(left) != bool(right):  # "x = 5" answers what "5" answers; "r = 0" and "y = 0" differ
        bare = (one[left.end() :], other) if left else (one, other[right.end() if right else 0 :])
        return compare(*(canonical(part, "math") for part in bare))
    if ("=" in one) != ("=" in other):
        return False  # math-verify would take the equation's right side for its value
    return None


def is_exact(key: str) -> bool:
    """Whether a canonical key is an exact number, or a list of exact numbers without brackets."""
    return all(part.removeprefix("-").replace("/", "", 1).isdigit() for part in key.split(","))


# Letters of a multiple choice --------------------------------------------------------------------------------------

_WRAPPED = re.compile(r"\\(?:text|textbf|mathrm|mathbf|boxed)(?=\{)")
_ONE_LETTER = re.compile(r"[\s({\[*$]*([A-Za-z])(?:[)\]}*$]+|[.:](?=\s|$)|$)")
_SEVERAL = re.compile(r"\(?[A-Z]\)?(?:(?:\s*[,;&/]\s*|\s+and\s+|\s*,\s*and\s+)\(?[A-Z]\)?)+")
_GLUED = re.compile(r"[A-Z]{2,6}")
_LETTER_EDGES = " \t\r*$.{}[]\"'`"


def letters_of(tail: str) -> str | None:
    """`(B)`, `B. Paris`, `A, C`, `AC`, `A and C` as sorted letters; None where the text is no choice of letters."""
    text = _WRAPPED.sub("", tail[:MAX_ANSWER]).strip(_LETTER_EDGES).lstrip(": ")
    if _SEVERAL.fullmatch(text):
        return "".join(sorted(set(re.findall(r"\b[A-Z]\b", text))))
    inner = text.strip("()")
    if _GLUED.fullmatch(inner) and list(inner) == sorted(set(inner)):
        return inner
    one = _ONE_LETTER.match(text)
    return one.group(1).upper() if one else None


# The normalised text -----------------------------------------------------------------------------------------------

_EDGES = " \t\r\n*`\"',;:"
_MONEY_PERCENT = re.compile(r"(?<!\\)\\[$%]|[$%€£¥₹¢]")
_LATEX_SIGN = re.compile(r"[\\{}^_~]|pi\b")
_CHARACTERS = {
    ord(a): b
    for a, b in zip(
        "−–—‐‑‒﹣－×·⋅÷⁄∕⁰¹²³⁴⁵⁶⁷⁸⁹٬٫％π√∞≤≥≠",
        ["-"] * 8 + ["*"] * 3 + ["/"] * 3 + [f"^{digit}" for digit in range(10)]
        + [",", ".", "%", "\\pi ", "\\sqrt ", "\\infty ", "\\le ", "\\ge ", "\\ne "],
        strict=True,
    )
}  # fmt: skip
_AS_RELEASED = {character: plain for character, plain in _CHARACTERS.items() if character != ord("π")}
_DEGREES = re.compile(r"\s?[°º]\s?(?:[CF]\b)?")


def _plain_characters(text: str, characters: Mapping[int, str]) -> str:
    """ASCII signs and digits in place of their many other forms: `٤٢`, `−5`, `27½`, `x²`."""
    text = _DEGREES.sub("", text).translate(characters)
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


_SIZES_OF_FRACTIONS = (re.compile(r"\\[dtc]frac(?![A-Za-z])"), r"\\frac")


def _plain_latex(text: str, released: bool) -> str:
    for pattern, plain in _LAYOUT if released else (_SIZES_OF_FRACTIONS, *_LAYOUT):
        text = pattern.sub(plain, text)
    return text


def _within_edges(text: str) -> str:
    return text.strip(_EDGES).rstrip(_EDGES + ".")


def _after_last_equals(text: str) -> str:
    """`2+7=9` answers 9: where an equation stands in place of a number, its right side is the answer."""
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
    value = _rational(_plain_number(number.group(1))) if scale else None
    return number.group(1) if scale is None or value is None else str(value * scale)


_GROUPED = re.compile(r"[+-]?(?:\d{1,3}(?:,\d{3})+|\d{1,3}(?: \d{3})+|\d{1,2}(?:,\d{2})+,\d{3})(?:\.\d*)?")
# Commas inside round brackets part coordinates: (0,3) is a point, and not the solutions 0 and 3.
_BRACKETED = re.compile(r"\{\s*([-+]?[\d.,/]+|[A-Za-z])\s*\}|\(\s*([-+]?[\d./]+|[A-Za-z])\s*\)")
_LETTER = re.compile(r"\(\s*[A-Za-z]\s*\)")
_ZERO_TAIL = re.compile(r"([-+]?\d+)\.0*")
_SIGN_GAP = re.compile(r"^([-+])\s+(?=[\d.])")
_GAP = re.compile(r"(?<!\w)\s+|\s+(?!\w)")


def _plain_number(text: str) -> str:
    """Commas of thousands, a plus sign, brackets around it all, `.0` and blanks between signs taken out."""
    bracketed = _BRACKETED.fullmatch(text)
    text = _SIGN_GAP.sub(r"\1", bracketed[1] or bracketed[2] if bracketed else text)
    if _GROUPED.fullmatch(text):
        text = text.replace(",", "").replace(" ", "")
    whole = _ZERO_TAIL.fullmatch(text)
    text = whole.group(1) if whole else text
    text = text.removeprefix("+") if text[1:2].isdigit() else text
    return " ".join(_GAP.sub("", text).split())


# Exact numbers -----------------------------------------------------------------------------------------------------

_DECIMAL = r"(?:\d+\.?\d*|\.\d+)"
_NUMBER = re.compile(rf"([-+]?)({_DECIMAL})(?:(?:[eE]|\*10\^)\{{?([-+]?\d{{1,3}})\}}?)?")
_QUOTIENT = re.compile(rf"([-+]?)(?:(\d+) )?({_DECIMAL})/({_DECIMAL})")
_FRAC = re.compile(rf"([-+]?)(\d+)? ?\\frac\{{(-?{_DECIMAL})\}}\{{({_DECIMAL})\}}")
_REPEATING = re.compile(r"([-+]?)(\d*)\.(\d*)\\overline\{?(\d+)\}?")


def _rational(text: str) -> Fraction | None:
    """The exact value of a decimal, fraction, mixed number, power of ten or repeating decimal."""
    number = _NUMBER.fullmatch(text)
    if number:
        sign, digits, exponent = number.groups()
        value = Fraction(digits) * Fraction(10) ** int(exponent or 0)
        return -value if sign == "-" else value
    quotient = _QUOTIENT.fullmatch(text) or _FRAC.fullmatch(text)
    if quotient:
        return _mixed(*quotient.groups())
    repeating = _REPEATING.fullmatch(text)
    return _repeating(*repeating.groups()) if repeating else None


def _mixed(sign: str, whole: str | None, above: str, below: str) -> Fraction | None:
    if not Fraction(below) or (whole and above.startswith("-")):
        return None
    value = Fraction(whole or 0) + Fraction(above) / Fraction(below)
    return -value if sign == "-" else value


def _repeating(sign: str, whole: str, fixed: str, period: str) -> Fraction:
    scale = 10 ** len(fixed)
    value = Fraction(int((whole + fixed) or 0), scale) + Fraction(
        int(period), scale * (10 ** len(period) - 1)
    )
    return -value if sign == "-" else value


def _sorted_numbers(text: str) -> str:
    """`3,5,7` for `7, 5, 3`: a list without brackets is a set of solutions. Any other text as it is."""
    if "," not in text:
        return text
    values = [_rational(part.strip()) for part in text.split(",")]
    known = [value for value in values if value is not None]
    return ",".join(map(str, sorted(known))) if len(known) == len(values) else text


# What may be read as algebra ---------------------------------------------------------------------------------------

_ASSIGNMENT = re.compile(r"[A-Za-z](?:\([A-Za-z]\))?=(?=[^=]+$)")
_CLOCK_OR_BASE = re.compile(r"\d:\d|\d_|\d \d")
_LONG_WORD = re.compile(
    r"(?<![A-Za-z\\])(?!(?:sqrt|sinh|cosh|tanh|asin|acos|atan|frac)(?![A-Za-z]))[A-Za-z]{4,}"
)
_COMMAND = re.compile(r"\\[A-Za-z]+")


def _is_algebra(key: str) -> bool:
    """Whether a parser of formulas may see this: it would read `5:40`, `52_8` or `10 years` as some number."""
    if not key or len(key) > MAX_ALGEBRA or _CLOCK_OR_BASE.search(key) or (len(key) > 1 and key.isalpha()):
        return False
    return not _LONG_WORD.search(_COMMAND.sub(" ", key))
