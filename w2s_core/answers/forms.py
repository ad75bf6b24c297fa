r"""The form of a final answer, and when two forms are the same answer.

An answer is a number, a formula or a text, with a unit perhaps; or it is made of several: a point, an interval, a
set, a matrix, a relation, or a bare list. Forms are equal part by part: numbers exactly, units by conversion, and
formulas by algebra, which decides outside (`grading`) what cannot be told here.

Some answers leave their form open. `5` has no unit where `5 cm` has one; `2, 3` is read as a set beside `\{2,3\}` and
as a point beside `(2,3)`; `x = 5` answers what `5` does; `100,200` is a number or a list. Two answers are `alike` if
one reading makes them the same (`comparing`); they are `same` if they are so as they stand. `same` is an equivalence;
`alike` cannot be one, since `5` is like `5 m` and like `5 cm`, and so `grading` makes classes of answers that are
alike each with each.

Untrusted text again: nothing is evaluated, and lengths are bounded.
"""

from dataclasses import dataclass

from w2s_core.answers.numbers import Exact
from w2s_core.answers.units import Unit


@dataclass(frozen=True, slots=True)
class Text:
    """Words, or what no other form fits."""

    text: str


@dataclass(frozen=True, slots=True)
class Formula:
    """A formula whose value is no exact number here, as `latex.plain` writes it, without blanks."""

    source: str


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number or formula and its unit: None where none is given, a text for counted things (`apples`)."""

    value: Exact | Formula
    unit: Unit | str | None = None


@dataclass(frozen=True, slots=True)
class Several:
    """Several forms.

    Attributes:
        kind: the brackets (`()`, `[]`, `[)`, `(]`, `{}`), `∪` for a union, `names` for `x = 1, y = 2`, or `` for a list
            without brackets.
    """

    kind: str
    items: tuple["Form", ...]

    @property
    def has_order(self) -> bool:
        """Whether it changes with the order of its items."""
        return self.kind not in ("", "{}", "∪", "names")


@dataclass(frozen=True, slots=True)
class Matrix:
    """Rows of entries; `kind` tells a determinant from a matrix."""

    kind: str
    rows: tuple[tuple["Form", ...], ...]


@dataclass(frozen=True, slots=True)
class Relation:
    """`left sign right`, or a chain of them; never with `>` or `≥`, which are turned round."""

    signs: tuple[str, ...]
    sides: tuple["Form", ...]
    texts: tuple[str, ...]


Form = Text | Quantity | Several | Matrix | Relation


@dataclass(frozen=True, slots=True)
class Answer:
    """The readings of an answer; the first is the one that it has by itself."""

    readings: tuple[Form, ...]

    @property
    def form(self) -> Form:
        """The reading that the answer has by itself."""
        return self.readings[0]

    @property
    def is_number(self) -> bool:
        """Whether it is nothing but an exact number."""
        form = self.readings[0]
        return isinstance(form, Quantity) and form.unit is None and not isinstance(form.value, Formula)
