"""Units of measure, and which words behind a number are none.

A word is a unit where this table has it, or counts things where it is a plural (`5 apples`). Words that change a number
(scales, fractions, operations, comparisons, directions, halves of the day) are no units, and leave the text whole.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Final

from w2s_core.answers.numbers import SCALES


@dataclass(frozen=True, slots=True)
class Unit:
    """A product of powers of base units, and how many of them it is.

    Attributes:
        dimensions: base units with their exponents, sorted.
        factor: 100 for the metre, where the base is the centimetre.
    """

    dimensions: tuple[tuple[str, int], ...]
    factor: Fraction


_TABLE: Final[dict[str, dict[str, str]]] = {
    "cm": {
        "mm millimeter millimetre": "1/10",
        "cm centimeter centimetre": "1",
        "dm decimeter decimetre": "10",
        "m meter metre": "100",
        "km kilometer kilometre": "100000",
        "in inch inches": "2.54",
        "ft foot feet": "30.48",
        "yd yard": "91.44",
        "mi mile": "160934.4",
    },
    "g": {
        "mg milligram": "1/1000",
        "g gram gramme": "1",
        "kg kilogram kilo": "1000",
        "ton tonne": "1000000",
        "oz ounce": "28.349523125",
        "lb lbs pound": "453.59237",
    },
    "s": {
        "ms millisecond": "1/1000",
        "s sec second": "1",
        "min minute": "60",
        "h hr hour": "3600",
        "day": "86400",
        "week": "604800",
    },
    "month": {"month": "1", "year yr": "12"},
    "ml": {"ml mL milliliter millilitre": "1", "l L liter litre": "1000"},
    "cup": {"cup": "1", "pint": "2", "quart": "4", "gallon gal": "16"},
    "¢": {"$ dollar buck USD": "100", "¢ cent": "1", "dime": "10", "nickel": "5"},
    "€": {"€ euro EUR": "1"},
    "£": {"£": "1"},
    "¥": {"¥ yen": "1"},
    "₹": {"₹ rupee": "1"},
    "%": {"% percent pct percentage": "1"},
    "°": {"° degree": "1"},
    "rad": {"rad radian": "1"},
    "V": {"V volt": "1"},
    "W": {"W watt": "1", "kW kilowatt": "1000"},
    "J": {"J joule": "1"},
    "N": {"N newton": "1"},
    "Hz": {"Hz hertz": "1"},
}
# a length to the third power is a volume, but no one writes litres that way; so both stay apart here
_KNOWN: Final[dict[str, tuple[str, Fraction]]] = {
    name: (base, Fraction(factor))
    for base, units in _TABLE.items()
    for names, factor in units.items()
    for name in names.split()
}
_SPEEDS: Final = {
    "mph": "miles per hour",
    "kph": "km per hour",
    "kmh": "km per hour",
    "fps": "feet per second",
}
_NO_UNIT: Final = frozenset({"unit", "units"})
"""Words that say that there is a unit, and not which."""

_NUMBER_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety"
)
_FRACTIONS = (
    "half halves third thirds fourth fourths quarters fifth fifths sixth sixths seventh sevenths eighth eighths ninth "
    "ninths tenth tenths hundredth hundredths thousandth thousandths millionth millionths first"
)
_OPERATIONS = (
    "plus minus times divided multiplied over squared cubed mod modulo factorial root power powers choose to and or "
    "not no never remainder squares cubes"
)
_COMPARISONS = (
    "more less fewer greater larger smaller least most under above below exceeding than between about almost nearly "
    "approximately roughly around up minimum maximum plus-or-minus"
)
_DIRECTIONS = (
    "north south east west northeast northwest southeast southwest left right down upward downward upwards downwards "
    "forward forwards backward backwards ahead behind clockwise counterclockwise anticlockwise northward southward"
)
_TIMES = "am pm a.m p.m noon midnight oclock o'clock ago later earlier before after bc ad bce ce"
_BASES = "base binary hexadecimal octal decimal"
CHANGING_WORDS: Final = frozenset(
    " ".join(
        [_NUMBER_WORDS, _FRACTIONS, _OPERATIONS, _COMPARISONS, _DIRECTIONS, _TIMES, _BASES]
    ).split()
) | {scale + ending for scale in SCALES for ending in ("", "s")} | {"dozens"}  # fmt: skip
"""Words that change what a number beside them means."""

_WORD = re.compile(r"[A-Za-z$€£¥₹¢°%]+(?:\.[A-Za-z]\b)?(?:'[a-z]+)?")
_HALF_OF_DAY = re.compile(r"\b[ap]\s?\.\s?m\b", re.IGNORECASE)
_COUNTED_THINGS = "people children men women person child man woman fish sheep deer mice geese teeth way"
_COUNTED = frozenset(_COUNTED_THINGS.split())
_SINGULAR_IN_S = re.compile(r"(?:ss|us|is|ous|less|wards?|ths?)$")
_COMPOUND = re.compile(r"(.+?)\s*(?:/|\bper\b|\ban?\b)\s*(.+)")
_POWER = re.compile(
    r"(?:(square|sq|cubic|cu)\b\.?\s*)?([A-Za-z$€£¥₹¢°%]+)\.?(?:\s*\^\{?([1-4])\}?|([23])(?!\w))?"
)
_POWERS: Final = {None: 1, "square": 2, "sq": 2, "cubic": 3, "cu": 3}


@lru_cache(maxsize=4096)
def changes_number(words: str) -> bool:
    """Whether a text beside a number holds a word that changes it."""
    if _HALF_OF_DAY.search(words):
        return True
    return any(word.lower().rstrip(".") in CHANGING_WORDS for word in _WORD.findall(words))


@lru_cache(maxsize=4096)
def unit_of(words: str) -> Unit | None:
    """The unit that a phrase begins with (`cm^2`, `miles per hour`, `cups of water`); None where it is none."""
    text = words.strip(" .,")
    compound = _COMPOUND.fullmatch(_SPEEDS.get(text, text))
    if compound:
        above, below = unit_of(compound[1]), unit_of(compound[2])
        return _quotient(above, below) if above and below else None
    power = _POWER.match(text)
    if not power:
        return None
    known = _KNOWN.get(power[2]) or _KNOWN.get(_singular(power[2]))
    behind = text[power.end() :]
    if known is None or (behind and not behind[0].isspace()) or (len(power[2]) == 1 and behind.strip()):
        return None
    exponent = int(power[3] or power[4] or _POWERS[power[1]])
    return Unit(((known[0], exponent),), known[1] ** exponent)


def _singular(word: str) -> str:
    lower = word.lower()
    return lower if lower in _KNOWN else lower.removesuffix("s")


def _quotient(above: Unit, below: Unit) -> Unit:
    exponents = dict(above.dimensions)
    for base, exponent in below.dimensions:
        exponents[base] = exponents.get(base, 0) - exponent
    left = tuple(sorted((base, exponent) for base, exponent in exponents.items() if exponent))
    return Unit(left, above.factor / below.factor)


@lru_cache(maxsize=4096)
def counted(words: str) -> str | None:
    """The things that a phrase counts (`apples`, `blue marbles`), as it is written; None where it counts none."""
    phrase = re.findall(r"[A-Za-z]+", words)
    for word in phrase:
        lower = word.lower()
        plural = len(lower) > 3 and lower.endswith("s") and not _SINGULAR_IN_S.search(lower)
        if plural or lower in _COUNTED:
            return " ".join(phrase).lower()
    return None


def says_no_unit(words: str) -> bool:
    """Whether the phrase is `units` or `square units`: a unit that is not named."""
    phrase = [word.lower() for word in re.findall(r"[A-Za-z]+", words)]
    return bool(phrase) and phrase[-1] in _NO_UNIT and set(phrase[:-1]) <= {"square", "sq", "cubic", "cu"}
