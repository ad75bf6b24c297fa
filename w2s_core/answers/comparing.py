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


def same(first: Answer, second: Answer, decide: Decide) -> bool | None:
    """Whether two answers are the same as they stand; None where algebra could not tell. An equivalence."""
    return _equal(first.form, second.form, decide, alike=False)


def alike(first: Answer, second: Answer, decide: Decide) -> bool | None:
    """Whether one reading makes two answers the same; None where algebra could not tell. Symmetric."""
    if len(first.readings) == len(second.readings) == 1:
        return _equal(first.readings[0], second.readings[0], decide, alike=True)
    return _any(
        _equal(left, right, decide, alike=True) for left, right in product(first.readings, second.readings)
    )


def compare(first: Answer | None, second: Answer | None) -> bool | None:
    """Whether two answers are alike, as far as it can be told without algebra; None where only algebra can tell."""
    if first is None or second is None:
        return False
    return alike(first, second, lambda _: None)


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


def _equal(first: Form, second: Form, decide: Decide, alike: bool) -> bool | None:
    if first == second:
        return True
    if isinstance(first, Quantity) and isinstance(second, Quantity):
        return _equal_quantities(first, second, decide, alike)
    if isinstance(first, Several) and isinstance(second, Several):
        return _equal_several(first, second, decide, alike)
    if isinstance(first, Relation) and isinstance(second, Relation):
        return _equal_relations(first, second, decide, alike)
    if isinstance(first, Matrix) and isinstance(second, Matrix):
        return _equal_matrices(first, second, decide, alike)
    return _open_forms(first, second, decide) if alike else False


def _open_forms(first: Form, second: Form, decide: Decide) -> bool | None:
    """Answers of two forms: `x = 5` beside `5`, a set of one element beside the element."""
    for left, right in ((first, second), (second, first)):
        if is_named(left) and isinstance(left, Relation):
            return _equal(left.sides[1], right, decide, alike=True)
        if isinstance(left, Several) and left.kind == "{}" and len(left.items) == 1:
            return _equal(left.items[0], right, decide, alike=True)
    return False


def _equal_quantities(first: Quantity, second: Quantity, decide: Decide, alike: bool) -> bool | None:
    left, right = first.unit, second.unit
    if left == right or (alike and (left is None or right is None)):
        return _equal_values(first.value, second.value, decide)
    if not (isinstance(left, Unit) and isinstance(right, Unit)) or left.dimensions != right.dimensions:
        return False
    return _equal_values(_in_base(first.value, left), _in_base(second.value, right), decide)


def _in_base(value: Exact | Formula, unit: Unit) -> Exact | Formula:
    if isinstance(value, Formula):
        return value if unit.factor == 1 else Formula(f"({value.source})*({unit.factor})")
    return value * unit.factor


def _equal_values(first: Exact | Formula, second: Exact | Formula, decide: Decide) -> bool | None:
    if not (isinstance(first, Formula) or isinstance(second, Formula)):
        return first == second
    left, right = (value.source if isinstance(value, Formula) else str(value) for value in (first, second))
    return True if left == right else decide(ordered(left, right))


def ordered(first: str, second: str) -> LeafPair:
    """The pair in the order in which algebra is asked, so that it cannot answer both ways round."""
    return (first, second) if first <= second else (second, first)


_BESIDE_A_LIST = ("()", "{}", "names")


def _equal_several(first: Several, second: Several, decide: Decide, alike: bool) -> bool | None:
    if first.kind != second.kind and not (alike and _meet(first, second)):
        return False
    if len(first.items) != len(second.items):
        return False
    if "names" in (first.kind, second.kind) and first.kind != second.kind:
        return _all(_equal(*pair, decide, alike) for pair in zip(first.items, second.items, strict=True))
    if first.has_order or second.has_order:
        return _all(_equal(*pair, decide, alike) for pair in zip(first.items, second.items, strict=True))
    return _matched([[_equal(left, right, decide, alike) for right in second.items] for left in first.items])


def _meet(first: Several, second: Several) -> bool:
    """Whether a list without brackets, or names, may be read as the other's kind."""
    for left, right in ((first, second), (second, first)):
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


def _equal_matrices(first: Matrix, second: Matrix, decide: Decide, alike: bool) -> bool | None:
    if first.kind != second.kind or [len(row) for row in first.rows] != [len(row) for row in second.rows]:
        return False
    entries = zip(sum(first.rows, ()), sum(second.rows, ()), strict=True)
    return _all(_equal(*pair, decide, alike) for pair in entries)


def _equal_relations(first: Relation, second: Relation, decide: Decide, alike: bool) -> bool | None:
    if first.signs != second.signs:
        return False
    pairs = zip(first.sides, second.sides, strict=True)
    sides = _all(_equal(*pair, decide, alike) for pair in pairs)
    if sides is True or len(first.signs) > 1:
        return sides
    left, right = _source(first), _source(second)
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
