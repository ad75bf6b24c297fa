"""Wrong wiring is refused when a graph is planned, by the kind of artefact that a step gives."""

from pathlib import Path
from typing import Any

import pytest

from tests.engine.toy import number
from w2s_core.engine import Context, step
from w2s_core.errors import UserError


@step(version=1, gives="gold")
def kind_gold(ctx: Context, *, split: str) -> None:
    """Gives gold."""


@step(version=1, gives="responses")
def kind_responses(ctx: Context, *, n: int = 0) -> None:
    """Gives responses."""


@step(version=1, gives="grades", takes={"weak": ("responses", "agreed"), "others": ("responses",)})
def kind_takes(ctx: Context, *, weak: Path, others: Any = None, n: int = 0) -> None:
    """Takes responses."""


def test_a_handle_tells_its_kind() -> None:
    assert kind_gold(split="a").kind == "gold"
    assert kind_takes(weak=kind_responses()).kind == "grades"
    assert number(n=1).kind is None


def test_a_wrong_kind_is_refused() -> None:
    with pytest.raises(UserError) as caught:
        kind_takes(weak=kind_gold(split="train_2"))
    assert str(caught.value) == (
        "step kind_takes: 'weak' takes responses or agreed, not gold (from step kind_gold(split=train_2))"
    )


@pytest.mark.parametrize("wrap", [lambda a: [a], lambda a: {"x": a}, lambda a: {"x": [None, a]}])
def test_every_leaf_is_checked(wrap: Any) -> None:
    fine, wrong = kind_responses(), kind_gold(split="a")
    assert kind_takes(weak=fine, others=wrap(fine)).inputs["others"] == wrap(fine)
    with pytest.raises(UserError, match="'others' takes responses, not gold"):
        kind_takes(weak=fine, others=[fine, wrap(wrong)])


@pytest.mark.parametrize("plain", ["a/path", 3, ["x"], {"x": 1.5}])
def test_a_plain_value_is_refused(plain: Any) -> None:
    with pytest.raises(UserError, match="'weak' takes responses or agreed from a step, not the plain value"):
        kind_takes(weak=plain)


def test_none_is_for_optional_parameters() -> None:
    assert kind_takes(weak=kind_responses(), others=None).key == kind_takes(weak=kind_responses()).key
    with pytest.raises(UserError, match="'weak' takes responses or agreed, and got none"):
        kind_takes(weak=None)


def test_a_step_without_a_kind_passes() -> None:
    assert kind_takes(weak=number(n=1)).inputs["weak"] == number(n=1)


def test_kinds_are_in_no_key() -> None:
    spec = kind_takes(weak=kind_responses()).describe()
    assert not {"gives", "takes", "kind"} & spec.keys()
    plain = step(version=1)(declared_twice)
    undeclared = plain(n=1).key
    plain.declare_kinds("model", {"n": ("gold",)})
    assert plain.fingerprint == step(version=1, gives="model")(declared_twice).fingerprint
    assert step(version=1, gives="model")(declared_twice)(n=1).key == undeclared


def declared_twice(ctx: Context, *, n: int = 0) -> None:
    """A function that is declared in two ways."""


@pytest.mark.parametrize("name", ["nowhere", "speed"])
def test_takes_names_a_keyed_parameter(name: str) -> None:
    with pytest.raises(ValueError, match=f"takes names no keyed parameter: {name}"):

        @step(version=1, unkeyed=("speed",), takes={name: ("gold",)})
        def kind_wrong(ctx: Context, *, n: int = 0, speed: int = 1) -> None:
            """A step that takes what it has not."""
