"""Final answers: find them in a response, bring them to a canonical form, compare them exactly.

Responses are untrusted text: everything here runs in time linear in their length, and nothing is evaluated. What the
exact comparison cannot decide (two different LaTeX expressions) is for `grading.py`, in processes that can be killed.
"""

import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from w2s_core.errors import UserError

RULES = ("gsm8k", "math", "choice")
MAX_RESPONSE = 50_000
"""Characters of a response that are looked at, from its beginning: a longer one is a model that ran on."""
MAX_ANSWER = 1_000
"""Characters of an answer; what is longer is no answer."""


class Verdict(StrEnum):
    """How an answer was graded. `timed_out` is neither right nor wrong."""

    RIGHT = "right"
    WRONG = "wrong"
    UNPARSED = "unparsed"
    TIMED_OUT = "timed_out"


@dataclass(frozen=True)
class Canonical:
    """An answer's canonical form: its exact value where it is a number, else its normalised text."""

    text: str
    value: Fraction | None = None

    def equals(self, other: "Canonical") -> bool:
        """Equal as numbers where both are numbers, else equal as text."""
        if self.value is not None and other.value is not None:
            return self.value == other.value
        return self.text == other.text


def check_rule(rule: str) -> None:
    """Raises UserError for an answer rule that does not exist."""
    if rule not in RULES:
        raise UserError(f"unknown answer rule '{rule}'; known: {', '.join(RULES)}")


def extract(response: str, rule: str) -> str | None:
    r"""The final answer as the response gives it, or None where there is none.

    The response is cut where the model goes on with a question of its own. "gsm8k": what stands on the line of the
    last `####`. "math" and "choice": what follows the last `The answer is`, else the last `\boxed{}`.

    Raises:
        UserError: unknown rule.
    """
    check_rule(rule)
    text = re.split(r"\n\s*Question\b|Question:", response[:MAX_RESPONSE], maxsplit=1)[0]
    found = _after_hashes(text) if rule == "gsm8k" else _after_phrase(text)
    found = (found or "").strip()
    return found if 0 < len(found) <= MAX_ANSWER and canonical(found, rule).text else None


def _after_hashes(text: str) -> str | None:
    _, marker, tail = text.rpartition("####")
    return tail.strip().partition("\n")[0] if marker else None


_PHRASE = re.compile(r"[Tt]he (?:final )?answer is\b:?")


def _after_phrase(text: str) -> str | None:
    r"""What follows the last "The answer is"; of a \boxed{} in it the content; else the last \boxed{}."""
    phrases = list(_PHRASE.finditer(text))
    if not phrases:
        return _boxed(text)
    tail = text[phrases[-1].end() :].strip()
    return _boxed(tail) or tail


def _boxed(text: str) -> str | None:
    r"""The content of the last complete \boxed{...}, braces counted."""
    starts = [match.end() for match in re.finditer(r"\\boxed\s*\{", text)][-3:]
    for start in reversed(starts):
        depth = 1
        for place in range(start, len(text)):
            depth += (text[place] == "{") - (text[place] == "}")
            if depth == 0:
                return text[start:place]
    return None


def canonical(answer: str, rule: str, match: str = "value") -> Canonical:
    """The canonical form of an extracted answer.

    Args:
        match: "value" reads numbers as numbers, so that 0.50 equals 1/2. "string" leaves them text, as the authors'
            released grading did: 0.50 differs from 0.5 (but 3.00 is 3), and everything up to the last "=" is cut in
            MATH too.
    """
    text = _plain_characters(answer[:MAX_ANSWER]).strip()
    if rule == "choice":
        return Canonical(_choice(text))
    text = _without_latex_wrapping(text) if rule == "math" else text
    text = _without_equation(text, anything=rule == "gsm8k" or match == "string")
    text = _without_decoration(text)
    value = _number(text) if match == "value" else None
    if value is not None:
        return Canonical(str(value), value)
    text = _WHOLE.sub(r"\1", _without_unit(text))
    compact = re.sub(r"\s+", "", text)
    return Canonical(compact.lower() if rule == "math" and compact.isalpha() else compact)


_WHOLE = re.compile(r"(?<![\d.])(\d+)\.0+$")
_CHARACTERS = str.maketrans(
    {"−": "-", "–": "-", "‐": "-", "⁄": "/", "∕": "/", "×": "*", "\u00a0": " ", "\u202f": " "}
)


def _plain_characters(text: str) -> str:
    """One way of writing what Unicode can write in many: minus signs, digits of any script, vulgar fractions."""
    if text.isascii():
        return text
    written = []
    for character in text.translate(_CHARACTERS):
        if unicodedata.category(character) == "Nd":
            written.append(str(unicodedata.digit(character)))
        elif "VULGAR" in unicodedata.name(character, ""):
            written.append(" " + unicodedata.normalize("NFKC", character).replace("⁄", "/"))
        else:
            written.append(character)
    return "".join(written)


_UNWRAP = re.compile(r"\\(?:text|textbf|mathrm|mathbf|mbox)\{([^{}]*)\}")
_UNIT_TEXT = re.compile(r"(?<=[\d}])\s*\\(?:text|mathrm|mbox)\{[^{}\d]*\}(?:\^\{?\d\}?)?$")
_SHORT_FRACTION = re.compile(r"\\frac\s*(\d)\s*(\d)(?!\d)")
_LATEX = (
    (re.compile(r"\\[dt]frac"), r"\\frac"),
    (re.compile(r"\\left(?![a-z])|\\right(?![a-z])|\\!|\\,|\\;|\\ (?=\S)"), ""),
    (re.compile(r"\^\s*(?:\\circ|\{\\circ\})"), ""),
    (re.compile(r"\\([%$])"), r"\1"),
)


def _without_latex_wrapping(text: str) -> str:
    """LaTeX with what does not change its meaning taken away: dollars, sizes, degrees, units, text commands."""
    text = text.strip().rstrip(".").strip()
    if text.startswith("$") and text.endswith("$") and len(text) > 1:
        text = text.strip("$").strip()
    for pattern, replacement in _LATEX:
        text = pattern.sub(replacement, text)
    text = _UNIT_TEXT.sub("", text)
    text = _UNWRAP.sub(r"\1", text)
    return _SHORT_FRACTION.sub(r"\\frac{\1}{\2}", text).strip()


_NAMED = re.compile(r"\s*\\?[A-Za-z]+(?:_\{?\w+\}?|\([A-Za-z]\))?\s*")


def _without_equation(text: str, anything: bool) -> str:
    """The right-hand side: of any equation ("2+7=9"), or only where a name stands on the left ("x = 9")."""
    left, equals, right = text.rpartition("=")
    if equals and right.strip() and (anything or _NAMED.fullmatch(left)):
        return right.strip()
    return text


_THOUSANDS = re.compile(r"(?<![\d.])(\d{1,3})((?:,\d{3})+)(?!\d)")


def _without_decoration(text: str) -> str:
    """Currency and per cent signs, commas between thousands, and a full stop at the end."""
    text = re.sub(r"[$€£]", "", text)
    text = text.replace("%", " ").strip().rstrip(".").strip()
    return _THOUSANDS.sub(lambda found: found[1] + found[2].replace(",", ""), text)


_UNIT = re.compile(r"([-+]?[\d./ ]*\d)\s+[A-Za-z][A-Za-z ().]*")


def _without_unit(text: str) -> str:
    """A number without the unit words behind it; letters glued to a number stay, since 5x is not 5."""
    found = _UNIT.fullmatch(text)
    return found[1] if found else text


_DECIMAL = re.compile(r"([-+]?)\s*(\d+(?:\.\d*)?|\.\d+)")
_RATIO = re.compile(r"([-+]?)\s*(\d+)\s*/\s*(\d+)")
_MIXED = re.compile(r"([-+]?)\s*(\d+)\s+(\d+)\s*/\s*(\d+)")
_FRAC = re.compile(r"([-+]?)\s*(\d*)\s*\\frac\{\s*(-?\d+)\s*\}\{\s*(-?\d+)\s*\}")


def _number(text: str) -> Fraction | None:
    """The exact value of an integer, decimal, fraction or mixed number, with or without a unit."""
    text = _without_unit(text)
    if found := _DECIMAL.fullmatch(text):
        return _signed(found[1], Fraction(found[2]))
    if found := _RATIO.fullmatch(text):
        return _signed(found[1], _ratio(found[2], found[3]))
    if found := _MIXED.fullmatch(text) or _FRAC.fullmatch(text):
        part = _ratio(found[3], found[4])
        return None if part is None else _signed(found[1], Fraction(found[2] or 0) + part)
    return None


def _ratio(above: str, below: str) -> Fraction | None:
    return Fraction(int(above), int(below)) if int(below) else None


def _signed(sign: str, value: Fraction | None) -> Fraction | None:
    return -value if sign == "-" and value is not None else value


_LETTER = re.compile(r"\s*(?:,|;|&|and\b)?\s*\(?([A-Za-z])\)?(?![A-Za-z])")


def _choice(text: str) -> str:
    """Letters of a multiple choice, sorted: "(B)", "B.", "A, C" and "(A) and (C)" give B, B, AC and AC."""
    text = _UNWRAP.sub(r"\1", text.strip("$ "))
    letters = []
    while found := _LETTER.match(text):
        letters.append(found[1].upper())
        text = text[found.end() :]
    return "".join(sorted(set(letters)))
