"""What a key depends on, and what it does not."""

import importlib.util
import json
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.toy import number, slow, total
from w2s_core.engine import Context, Handle, step
from w2s_core.engine.canonical import canonical, normalise
from w2s_core.engine.spec import key_of
from w2s_core.engine.step import topological
from w2s_core.engine.syntax import describe, source_files
from w2s_core.errors import UserError

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
)


@step(version=1)
def anything(ctx: Context, *, value: Any, other: Any = 0) -> None:
    """A step for keys only."""


@settings(max_examples=60)
@given(st.dictionaries(st.text(), values, min_size=1))
def test_the_order_of_names_does_not_matter(mapping: dict[str, Any]) -> None:
    turned = dict(reversed(list(mapping.items())))
    assert anything(value=mapping).key == anything(value=turned).key


@settings(max_examples=60)
@given(st.lists(values))
def test_a_tuple_is_a_list(items: list[Any]) -> None:
    assert anything(value=items).key == anything(value=tuple(items)).key


@settings(max_examples=60)
@given(values, values)
def test_keys_differ_exactly_when_parameters_do(one: Any, two: Any) -> None:
    same = json.dumps(one, sort_keys=True) == json.dumps(two, sort_keys=True)
    assert (anything(value=one).key == anything(value=two).key) == same


@settings(max_examples=60)
@given(values)
def test_the_place_of_a_value_matters(value: Any) -> None:
    if canonical(normalise(value, "")) not in (b"0", b"1"):
        assert anything(value=value, other=1).key != anything(value=1, other=value).key


@settings(max_examples=60)
@given(values)
def test_canonical_json_reads_back(value: Any) -> None:
    assert json.loads(canonical(normalise(value, ""))) == value


def test_parameters_at_their_default_are_left_out() -> None:
    assert number(n=1).key == number(n=1, plus=0).key != number(n=1, plus=1).key
    assert number(n=1, plus=0).params == {"n": 1}


def test_one_and_one_point_naught_and_true_are_three_keys() -> None:
    assert len({anything(value=value).key for value in (1, 1.0, True, "1")}) == 4


def test_unkeyed_parameters_reach_the_step_and_not_the_key() -> None:
    plain, fast = (total(parts=[number(n=1)], speed=speed) for speed in (1, 9))
    assert plain.key == fast.key
    assert fast.arguments(lambda handle: handle.name) == {"parts": ["number"], "speed": 9}


def test_inputs_count_by_key_order_and_argument() -> None:
    a, b = number(n=1), number(n=2)
    keys = {
        total(parts=[a, b]).key,
        total(parts=[b, a]).key,
        total(parts=[a]).key,
        total(parts=[a], extra=b).key,
        total(parts=[a], scale=2.0).key,
    }
    assert len(keys) == 5
    assert total(parts=[number(n=1), number(n=2)]).key == total(parts=[a, b]).key
    assert total(parts=[a], extra=None).key == total(parts=[a]).key


def test_none_stands_for_an_absent_input_in_a_list() -> None:
    handle = total(parts=[number(n=1), None, number(n=2)])
    assert handle.arguments(lambda one: one.params["n"])["parts"] == [1, None, 2]
    assert handle.key != total(parts=[number(n=1), number(n=2)]).key


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), [1.0, float("nan")], {"a": float("-inf")}])
def test_nan_and_infinity_are_refused(bad: Any) -> None:
    with pytest.raises(UserError, match=r"value.* is (nan|inf|-inf): a finite number is needed"):
        anything(value=bad)


@pytest.mark.parametrize("bad", [Path("x"), {1: "a"}, {"a": {2, 3}}, b"bytes", object()])
def test_what_is_no_json_is_refused(bad: Any) -> None:
    with pytest.raises(TypeError, match="step anything: value"):
        anything(value=bad)


def test_handles_and_values_are_not_mixed() -> None:
    with pytest.raises(TypeError, match="mixes handles and plain values"):
        total(parts=[number(n=1), 3])
    with pytest.raises(TypeError, match="unkeyed parameter speed cannot be an input"):
        total(parts=[], speed=number(n=1))


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(TypeError, match=r"step number .*missing: n; unknown: m"):
        number(m=1)


def test_a_step_must_take_keywords_only() -> None:
    with pytest.raises(ValueError, match="signature must be"):
        step(version=1)(lambda ctx, n: None)
    with pytest.raises(ValueError, match="unkeyed names no parameter or module: speed"):

        @step(version=1, unkeyed=("speed",))
        def unhappy(ctx: Context, *, n: int) -> None:
            """A step that declares what it does not take."""


def test_two_steps_cannot_share_a_name() -> None:
    with pytest.raises(ValueError, match="two steps are named 'number'"):

        @step(version=1)
        def number(ctx: Context, *, n: int) -> None:
            """The name is taken."""


def test_ten_thousand_handles_are_planned_in_two_seconds() -> None:
    start = time.process_time()
    parts = [number(n=i) for i in range(10_000)]
    keys = {total(parts=[part], scale=0.5).key for part in parts}
    assert len(keys) == 10_000
    assert time.process_time() - start < 2.0


def test_a_long_chain_needs_no_recursion() -> None:
    handle = number(n=0)
    for _ in range(5_000):
        handle = slow(of=handle)
    assert len(handle.key) == 64
    assert len(topological([handle])) == 5_001


def test_specs_make_the_same_handles_again() -> None:
    shared = number(n=1)
    target = total(parts=[shared, slow(of=shared)], extra=shared, scale=2.0, speed=3)
    specs = json.loads(json.dumps([handle.spec() for handle in topological([target])]))
    made = Handle.from_specs(specs)
    assert list(made) == [handle.key for handle in topological([target])]
    again = made[target.key]
    assert (again.params, again.unkeyed) == (target.params, target.unkeyed)
    assert [part.key for part in again.inputs["parts"]] == [part.key for part in target.inputs["parts"]]
    assert all(key_of(spec) == spec["key"] for spec in specs)


def test_a_spec_of_other_code_is_refused() -> None:
    spec = number(n=1).spec() | {"fingerprint": "0" * 64}
    with pytest.raises(UserError, match="code of step number changed"):
        Handle.from_specs([spec | {"key": key_of(spec)}])


# Fingerprints

MODULE = '''
"""A step in a module."""
import math
from os.path import join as glue
from w2s_core.engine import Context, step

FACTOR = 2
UNUSED = 5

def helper(x):
    """Doubles."""
    return x * FACTOR

def stranger(x):
    return x

def amount(x):
    return 1

@step(version=1, code=CODE, libraries=LIBRARIES)
def fingered(ctx, *, n: int = 0) -> dict:
    """What it does."""
    amount = helper(n)
    return {"value": amount, "path": [glue("a", k) for k in KINDS if (lambda: LIMIT)()]}

LIMIT = 1
KINDS = ("b",)
'''

Make = Callable[..., str]


@pytest.fixture
def fingerprint_of(tmp_path: Path) -> Make:
    """The fingerprint that the step of a module's text has, the module loaded anew each time."""
    count = iter(range(1000))

    def make(text: str = MODULE, code: tuple[str, ...] = (), libraries: tuple[str, ...] = ()) -> str:
        text = text.replace("CODE", repr(code)).replace("LIBRARIES", repr(libraries))
        return load(text, tmp_path / f"fingered{next(count)}.py").fingered.fingerprint

    return make


def load(text: str, path: Path) -> ModuleType:
    path.write_text(text)
    spec = importlib.util.spec_from_file_location("a_module_of_this_test", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


HARMLESS = {
    "comment": ("FACTOR = 2", "FACTOR = 2  # the second"),
    "formatting": ("return x * FACTOR", "return (x\n        * FACTOR)"),
    "docstring of a helper": ("Doubles.", "Doubles, really."),
    "docstring of the step": ("What it does.", "What it does, at length."),
    "docstring of the module": ("A step in a module.", "Other words."),
    "unused constant": ("UNUSED = 5", "UNUSED = 6"),
    "unused function": ("    return x\n", "    return -x\n"),
    "function with the name of a local variable": ("return 1", "return 2"),
    "unused import": ("import math", "import cmath"),
}
MEANINGFUL = {
    "body": ("helper(n)", "helper(n) + 1"),
    "constant in a lambda in a comprehension": ("LIMIT = 1", "LIMIT = 2"),
    "constant in a comprehension": ('("b",)', '("c",)'),
    "helper": ("return x * FACTOR", "return x + FACTOR"),
    "constant": ("FACTOR = 2", "FACTOR = 3"),
    "type of a constant": ("FACTOR = 2", "FACTOR = 2.0"),
    "imported name": ("from os.path import join", "from posixpath import join"),
    "default": ("n: int = 0", "n: int = 1"),
}


@pytest.mark.parametrize("edit", HARMLESS.values(), ids=HARMLESS)
def test_what_changes_no_result_changes_no_key(fingerprint_of: Make, edit: tuple[str, str]) -> None:
    assert edit[0] in MODULE
    assert fingerprint_of(MODULE.replace(*edit)) == fingerprint_of()


@pytest.mark.parametrize("edit", MEANINGFUL.values(), ids=MEANINGFUL)
def test_a_change_of_code_changes_the_key(fingerprint_of: Make, edit: tuple[str, str]) -> None:
    assert edit[0] in MODULE
    assert fingerprint_of(MODULE.replace(*edit)) != fingerprint_of()


def test_named_modules_and_libraries_are_in_the_fingerprint(fingerprint_of: Make) -> None:
    plain = fingerprint_of()
    assert len({plain, fingerprint_of(code=("w2s_core.rows",)), fingerprint_of(libraries=("numpy",))}) == 3


def test_a_package_stands_for_all_its_modules() -> None:
    files = source_files("w2s_core.engine")
    assert {"w2s_core.engine", "w2s_core.engine.store", "w2s_core.engine.step"} <= files.keys()
    assert total.sources["code"].keys() == {"w2s_core.rows"}


def test_wrong_names_are_errors(fingerprint_of: Make) -> None:
    with pytest.raises(ValueError, match=r"'w2s_core\.nowhere', which does not exist"):
        fingerprint_of(code=("w2s_core.nowhere",))
    with pytest.raises(UserError, match="library 'no-such-library' is needed and not installed"):
        fingerprint_of(libraries=("no-such-library",))


def test_edits_after_the_import_are_noticed(tmp_path: Path) -> None:
    text = MODULE.replace("CODE", "()").replace("LIBRARIES", "()")
    module = load(text, tmp_path / "edited.py")
    (tmp_path / "edited.py").write_text(text + "\n# and more\n")
    with pytest.raises(UserError, match="code of step fingered changed since this command started"):
        _ = module.fingered.fingerprint


def test_the_author_can_declare_an_edit_harmless(tmp_path: Path) -> None:
    text = MODULE.replace("CODE", "()").replace("LIBRARIES", "()")
    old = load(text, tmp_path / "old.py").fingered
    edited = text.replace("return x * FACTOR", "return FACTOR * x")
    new = load(edited, tmp_path / "new.py").fingered
    same = {new.sources["all_code"]: old.sources["all_code"]}
    declared = edited.replace("version=1", f"version=1, same_code={same}")
    assert load(declared, tmp_path / "declared.py").fingered(n=1).key == old(n=1).key != new(n=1).key
    further = declared.replace("FACTOR * x", "FACTOR * x + 1")
    assert load(further, tmp_path / "further.py").fingered(n=1).key != old(n=1).key


@pytest.mark.parametrize("name", ["sample", "sft", "prefer"])
def test_code_that_was_declared_harmless_is_todays(name: str) -> None:
    """After a further edit the declaration holds no more, and every key changes: declare it anew, or take it away."""
    import w2s_core.steps.sample
    import w2s_core.steps.train  # noqa: F401
    from w2s_core.engine.step import find_step

    definition = find_step(name)
    assert definition.sources["all_code"] in definition._same_code


def test_a_tree_is_told_apart_from_its_neighbours() -> None:
    import ast

    texts = [
        "x = None",
        "x = 'None'",
        "x = ...",
        "f(a, b)",
        "f(a)(b)",
        "{**a}",
        "{None: a}",
        "x: int",
        "x: int = 1",
    ]
    assert len({describe(ast.parse(text)) for text in texts}) == len(texts)
