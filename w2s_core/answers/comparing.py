"""When two answers are the same: `same` as they stand, `alike` where one reading makes them so (see `forms`)."""

from collections.abc import Callable, Iterable, Sequence
from itertools import product

from w2s_core.answers.forms import (
    Answer,
    Form,
    Formula,
    Matrix,
    Quantity,
    Relation,
    Several,
)
from w2s_core.answers.numbers import Exact
from w2s_core.answers.structures import is_named
from w2s_core.answers.units import Unit

LeafPair = tuple[str, str]
"""Two formulas, or two relations (`x+1=y`), that only algebra can compare; in order."""
Decide = Callable[[LeafPair], bool | None]
"""Whether a pair is the same; None where that is not known, or not known yet."""


def same(one: Answer, other: Answer, decide: Decide) -> bool | None:
    """Whether two answers are the same as they stand; None where algebra could not tell. An equivalence."""
    return _equal(one.form, other.form, decide, alike=False)


def alike(one: Answer, other: Answer, decide: Decide) -> bool | None:
    """Whether one reading makes two answers the same; None where algebra could not tell. Symmetric."""
    if len(one.readings) == len(other.readings) == 1:
        return _equal(one.readings[0], other.readings[0], decide, alike=True)
    return _any(
        _equal(left, right, decide, alike=True) for left, right in product(one.readings, other.readings)
    )


def compare(one: Answer | None, other: Answer | None) -> bool | None:
    """Whether two answers are alike, as far as it can be told without algebra; None where only algebra can tell."""
    if one is None or other is None:
        return False
    return alike(one, other, lambda _: None)


def _any(results: Iterable[bool | None]) -> bool | None:
    outcome: bool | None = False
    for result in results:
        if result:
            return True
        outcome = None if result is None else outcome
    return outcome


def _all(results: Iterable[bool | None]) -> bool | None:
    outcome: bool | None = True
    for result in results:
        if result is False:
            return False
        outcome = None if result is None else outcome
    return outcome


def _equal(one: Form, other: Form, decide: Decide, alike: bool) -> bool | None:
    if one == other:
        return True
    if isinstance(one, Quantity) and isinstance(other, Quantity):
        return _equal_quantities(one, other, decide, alike)
    if isinstance(one, Several) and isinstance(other, Several):
        return _equal_several(one, other, decide, alike)
    if isinstance(one, Relation) and isinstance(other, Relation):
        return _equal_relations(one, other, decide, alike)
    if isinstance(one, Matrix) and isinstance(other, Matrix):
        return _equal_matrices(one, other, decide, alike)
    return _open_forms(one, other, decide) if alike else False


def _open_forms(one: Form, other: Form, decide: Decide) -> bool | None:
    """Answers of two forms: `x = 5` beside `5`, a set of one element beside the element."""
    for left, right in ((one, other), (other, one)):
        if is_named(left) and isinstance(left, Relation):
            return _equal(left.sides[1], right, decide, alike=True)
        if isinstance(left, Several) and left.kind == "{}" and len(left.items) == 1:
            return _equal(left.items[0], right, decide, alike=True)
    return False


def _equal_quantities(one: Quantity, other: Quantity, decide: Decide, alike: bool) -> bool | None:
    left, right = one.unit, other.unit
    if left == right or (alike and (left is None or right is None)):
        return _equal_values(one.value, other.value, decide)
    if not (isinstance(left, Unit) and isinstance(right, Unit)) or left.dimensions != right.dimensions:
        return False
    return _equal_values(_in_base(one.value, left), _in_base(other.value, right), decide)


def _in_base(value: Exact | Formula, unit: Unit) -> Exact | Formula:
    if isinstance(value, Formula):
        return value if unit.factor == 1 else Formula(f"({value.source})*({unit.factor})")
    return value * unit.factor


def _equal_values(one: Exact | Formula, other: Exact | Formula, decide: Decide) -> bool | None:
    if not (isinstance(one, Formula) or isinstance(other, Formula)):
        return one == other
    left, right = (value.source if isinstance(value, Formula) else str(value) for value in (one, other))
    return True if left == right else decide(ordered(left, right))


def ordered(one: str, other: str) -> LeafPair:
    """The pair in the order in which algebra is asked, so that it cannot answer both ways round."""
    return (one, other) if one <= other else (other, one)


_BESIDE_A_LIST = ("()", "{}", "names")


def _equal_several(one: Several, other: Several, decide: Decide, alike: bool) -> bool | None:
    if one.kind != other.kind and not (alike and _meet(one, other)):
        return False
    if len(one.items) != len(other.items):
        return False
    if "names" in (one.kind, other.kind) and one.kind != other.kind:
        return _all(_equal(*pair, decide, alike) for pair in zip(one.items, other.items, strict=True))
    if one.has_order or other.has_order:
        return _all(_equal(*pair, decide, alike) for pair in zip(one.items, other.items, strict=True))
    return _matched([[_equal(left, right, decide, alike) for right in other.items] for left in one.items])


def _meet(one: Several, other: Several) -> bool:
    """Whether a list without brackets, or names, may be read as the other's kind."""
    for left, right in ((one, other), (other, one)):
        if left.kind == "" and (
            right.kind in _BESIDE_A_LIST or (right.kind == "[]" and len(right.items) != 2)
        ):
            return True
        if left.kind == "names" and right.kind == "()":
            return True
    return False


def _matched(table: Sequence[Sequence[bool | None]]) -> bool | None:
    """Whether each row can have a column of its own; None where that hangs on what is undecided."""
    if _matching(table, undecided=False):
        return True
    return None if _matching(table, undecided=True) else False


def _matching(table: Sequence[Sequence[bool | None]], undecided: bool) -> bool:
    row_of: dict[int, int] = {}

    def place(row: int, tried: set[int]) -> bool:
        for column, result in enumerate(table[row]):
            if column in tried or not (result or (undecided and result is None)):
                continue
            tried.add(column)
            if column not in row_of or place(row_of[column], tried):
                row_of[column] = row
                return True
        return False

    return all(place(row, set()) for row in range(len(table)))


def _equal_matrices(one: Matrix, other: Matrix, decide: Decide, alike: bool) -> bool | None:
    if one.kind != other.kind or [len(row) for row in one.rows] != [len(row) for row in other.rows]:
        return False
    entries = zip(sum(one.rows, ()), sum(other.rows, ()), strict=True)
    return _all(_equal(*pair, decide, alike) for pair in entries)


def _equal_relations(one: Relation, other: Relation, decide: Decide, alike: bool) -> bool | None:
    if one.signs != other.signs:
        return False
    pairs = zip(one.sides, other.sides, strict=True)
    sides = _all(_equal(*pair, decide, alike) for pair in pairs)
    if sides is True or len(one.signs) > 1:
        return sides
    left, right = _source(one), _source(other)
    if not left or not right:
        return sides
    # named values are compared by their names and values: `x = 5` and `y = 5` differ
    return decide(ordered(left, right))


def _source(relation: Relation) -> str:
    """The relation as algebra reads it; empty where a side is no formula."""
    parts = []
    for side in relation.sides:
        if not isinstance(side, Quantity) or side.unit is not None:
            return ""
        parts.append(side.value.source if isinstance(side.value, Formula) else str(side.value))
    return relation.signs[0].join(parts)
