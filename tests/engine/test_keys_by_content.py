"""Keys hang on the content of code, not on where it stands; and on all content that a step reaches by name."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

PLAN = """
import json
from pathlib import Path
from w2s_core.engine.step import topological
from w2s_core.experiment import load_experiment
from w2s_core.runs import build_graph
graph = build_graph(load_experiment(Path("experiments/mini/paper.yaml"), (), None), "cpu")
handles = topological(graph.targets.values())
print(json.dumps([[one.name, one.key, [parent.key for parent in one.parents()]] for one in handles]))
"""

Planned = list[tuple[str, str, list[str]]]


def planned(tree: Path) -> Planned:
    """Step, key and input keys of every step of the mini experiment, planned by the code of a tree."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", PLAN],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    steps: Planned = json.loads(done.stdout)
    return steps


@pytest.fixture(scope="module")
def as_it_is() -> Planned:
    return planned(ROOT)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the code, beside the same experiments."""
    shutil.copytree(ROOT / "w2s_core", tmp_path / "w2s_core", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    return tmp_path


def move(tree: Path, old: str, new: str) -> None:
    """Move a module, and rewrite its dotted name everywhere, as an editor would."""
    source, target = (tree / f"{name.replace('.', '/')}.py" for name in (old, new))
    target.parent.mkdir(exist_ok=True)
    source.rename(target)
    package, _, name = old.rpartition(".")
    new_package, _, new_name = new.rpartition(".")
    for path in tree.joinpath("w2s_core").rglob("*.py"):
        text = re.sub(rf"\b{re.escape(old)}\b", new, path.read_text())
        text = re.sub(
            rf"from {re.escape(package)} import {name}\b",
            f"from {new_package} import {new_name} as {name}",
            text,
        )
        path.write_text(text)


def test_moved_and_renamed_modules_keep_every_key(tree: Path, as_it_is: Planned) -> None:
    move(tree, "w2s_core.prompting", "w2s_core.prompts")
    move(tree, "w2s_core.answers.forms", "w2s_core.answers.shapes")
    move(tree, "w2s_core.answers.child", "w2s_core.answers.prover")
    move(tree, "w2s_core.training.checkpoints", "w2s_core.training.saving")
    move(tree, "w2s_core.steps.common", "w2s_core.steps.shared")
    move(tree, "w2s_core.rows", "w2s_core.parquet.rows")
    move(tree, "w2s_core.load_errors", "w2s_core.parquet.load_errors")
    (tree / "w2s_core/parquet/__init__.py").write_text('"""Files."""\n')
    selection = tree / "w2s_core/selection.py"
    names = re.findall(r"^(?:def|class) ([a-z]\w+|[A-Z]\w+)", selection.read_text(), re.MULTILINE)
    (tree / "w2s_core/selection").mkdir()
    selection.rename(tree / "w2s_core/selection/rules.py")
    (tree / "w2s_core/selection/__init__.py").write_text(
        f'"""A package now."""\nfrom w2s_core.selection.rules import {", ".join(names)}\n__all__ = {names}\n'
    )
    assert planned(tree) == as_it_is
    assert len(as_it_is) == 73


Edit = tuple[str, str, str]
EDITS: dict[str, tuple[list[Edit], set[str]]] = {
    "declared module": ([("selection.py", "return ", "return not not ")], {"agree", "contrast"}),
    "module reached through the declared modules": (
        [("load_errors.py", "return ", "return '' or ")],
        {"sample", "sft", "prefer"},
    ),
    "helper imported by the steps": (
        [("steps/common.py", 'return {row["id"] for', 'return {row["id"] + "" for')],
        {"agree", "contrast", "random_subset", "on_same_questions", "sft"},
    ),
    "what decides nothing": (
        [
            ("data/splits.py", "return ", "return '' or "),
            ("errors.py", "class StopBranch", "class Another(Exception):\n    pass\n\nclass StopBranch"),
            ("engine/context.py", "return record", "return record or None"),
        ],
        set(),
    ),
}


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=[pytest.mark.slow] * name.startswith(("declared", "what")))
        for name, case in EDITS.items()
    ],
    ids=EDITS,
)
def test_an_edit_changes_exactly_the_keys_that_stand_on_it(
    tree: Path, as_it_is: Planned, case: tuple[list[Edit], set[str]]
) -> None:
    edits, direct = case
    for file, old, new in edits:
        path = tree / "w2s_core" / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
    changed: set[str] = set()
    for (step, key, parents), (_, after, _) in zip(as_it_is, planned(tree), strict=True):
        expected = step in direct or not changed.isdisjoint(parents)
        assert (key != after) == expected, step
        if expected:
            changed.add(key)


# A small project of one's own, planned in one process a case


STEP = """
from w2s_core.engine import step
from mine.common import chosen
@step(version=1, code=("mine.rules",)UNKEYED)
def own_step(ctx, *, n: int = 0):
    from mine.late import late
    return {"n": chosen(late(n))}
"""
FILES = {
    "__init__.py": "",
    "steps.py": STEP,
    "common.py": """
from mine.rules import rule
from mine.deep import deep
def chosen(n):
    return rule(n) + deep(n)
""",
    "rules.py": "from mine.deep import deep as base\nimport math\ndef rule(n):\n    return base(n) * 2 + math.pi\n",
    "deep.py": """
from mine import deeper
def deep(n):
    return deeper.deeper(n)
def other(n):
    return deep(n)
""",
    "deeper.py": "def deeper(n):\n    return again(n) if n else 1\ndef again(n):\n    return deeper(n - 1)\n",
    "late.py": "def late(n):\n    return n\ndef unused(n):\n    return n\n",
}
Key = Callable[..., str]


@pytest.fixture
def key(tmp_path: Path) -> Key:
    """The key of a step of a small package, its files changed or (None) taken away."""
    count = iter(range(100))

    def plan(
        files: dict[str, str | None] | None = None, unkeyed: str = "", beside: str = "", **other: Any
    ) -> str:
        root = tmp_path / str(next(count))
        (root / "mine").mkdir(parents=True)
        if beside:
            (root / "beside.py").write_text(beside)
        for name, text in {**FILES, **(files or {})}.items():
            if text is not None:
                (root / "mine" / name).parent.mkdir(exist_ok=True)
                (root / "mine" / name).write_text(text.replace("UNKEYED", unkeyed))
        done = subprocess.run(
            [sys.executable, "-c", "from mine.steps import own_step; print(own_step().key)"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(root), str(ROOT)])},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout.strip()

    return plan


def renamed(old: str, new: str, target: str) -> dict[str, str | None]:
    """The files with `mine.OLD` moved to TARGET, known as `mine.NEW`."""
    files: dict[str, str | None] = {}
    for name, text in FILES.items():
        text = re.sub(rf"mine\.{old}\b", f"mine.{new}", text)
        files[name] = re.sub(rf"from mine import {old}\b", f"from mine import {new} as {old}", text)
    files[target] = files.pop(f"{old}.py")
    return {**files, f"{old}.py": None}


def test_small_moves(key: Key) -> None:
    before = key()
    assert key(renamed("common", "shared", "shared.py")) == before
    assert key(renamed("deep", "bottom", "bottom/__init__.py")) == before
    assert key(renamed("rules", "law", "law.py")) == before
    by_reference = (
        FILES["deep.py"].replace("import deeper", "import lowest").replace("deeper.deeper", "lowest.deeper")
    )
    assert key({"deep.py": by_reference, "deeper.py": None, "lowest.py": FILES["deeper.py"]}) == before
    dotted = FILES["deep.py"].replace("from mine import deeper", "import mine.deeper")
    assert key({"deep.py": dotted.replace("return deeper.deeper", "return mine.deeper.deeper")}) == before
    relative = FILES["common.py"].replace("from mine.", "from .")
    assert key({"common.py": relative}) == before
    head = FILES["common.py"].splitlines(keepends=True)
    turned = "".join([head[0], head[2], head[1], *head[3:]])
    assert key({"common.py": turned}) == before


HARMLESS = {
    "unused definition": ("late.py", "def unused(n):\n    return n", "def unused(n):\n    return -n"),
    "another user of a definition": ("deep.py", "return deep(n)", "return -deep(n)"),
    "comment": ("deeper.py", "def again", "# again\ndef again"),
}
CASES = {
    "a rule in a declared module": ("rules.py", "* 2", "* 3"),
    "what is imported inside the function": ("late.py", "return n\n", "return n + 1\n"),
    "what an import reaches at one remove": ("common.py", "+ deep(n)", "- deep(n)"),
    "at two removes": ("deep.py", "return deeper.deeper(n)", "return deeper.deeper(n) + 1"),
    "in a cycle": ("deeper.py", "n - 1", "n - 2"),
    "a foreign name": ("rules.py", "import math", "import cmath as math"),
    "a wire crossed": ("common.py", "return rule(n) + deep(n)", "return deep(n) + rule(n)"),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_what_is_reached_is_in_the_key(key: Key, case: tuple[str, str, str]) -> None:
    name, old, new = case
    assert old in FILES[name]
    assert key({name: FILES[name].replace(old, new)}) != key()


@pytest.mark.parametrize("case", HARMLESS.values(), ids=HARMLESS)
def test_what_is_not_reached_is_not(key: Key, case: tuple[str, str, str]) -> None:
    name, old, new = case
    assert old in FILES[name]
    assert key({name: FILES[name].replace(old, new)}) == key()


def test_another_definition_under_the_same_name_is_another_key(key: Key) -> None:
    """Two modules define `deep`; both are reached before and after, only who imports which is swapped."""
    second = FILES["deep.py"].replace("deeper.deeper(n)", "deeper.deeper(n) - 7")
    straight = {"second.py": second, "common.py": FILES["common.py"].replace("mine.deep", "mine.second")}
    crossed = {"second.py": second, "rules.py": FILES["rules.py"].replace("mine.deep", "mine.second")}
    assert len({key(), key(straight), key(crossed)}) == 3


def test_alike_definitions_that_use_unlike_ones_are_told_apart(key: Key) -> None:
    """The texts of the two `deep` are equal, what they call is not."""
    second = {"second.py": FILES["deep.py"].replace("import deeper", "import lowest as deeper")}
    second["lowest.py"] = FILES["deeper.py"].replace("n - 1", "n - 2")
    straight = {**second, "common.py": FILES["common.py"].replace("mine.deep", "mine.second")}
    crossed = {**second, "rules.py": FILES["rules.py"].replace("mine.deep", "mine.second")}
    assert len({key(), key(straight), key(crossed)}) == 3


def test_a_package_that_hands_on_names_leads_to_their_definition(key: Key) -> None:
    handed_on = {
        **renamed("deep", "pack", "pack/inner.py"),
        "pack/__init__.py": "from mine.pack.inner import deep\n",
    }
    assert key(handed_on) == key()
    assert isinstance(handed_on["pack/inner.py"], str)
    edited = handed_on["pack/inner.py"].replace("deeper.deeper(n)", "deeper.deeper(n) + 1")
    assert key({**handed_on, "pack/inner.py": edited}) != key()


def test_names_that_come_with_a_star_are_reached(key: Key) -> None:
    files = {
        "common.py": FILES["common.py"].replace("import rule", "import *").replace("import deep", "import *")
    }
    assert key(files) == key(files)
    for name, old, new in (("rules.py", "* 2", "* 3"), ("deep.py", "return deep(n)", "return -deep(n)")):
        assert key({**files, name: FILES[name].replace(old, new)}) != key(files)


def test_modules_under_one_name_in_two_functions_are_both_reached(key: Key) -> None:
    late = """
def first(n):
    from mine import deep as module
    return module.deep(n)
def second(n):
    from mine import extra as module
    return module.extra(n)
def late(n):
    return first(n) + second(n)
"""
    together = late.replace("def late(n):", "class Late:").replace(
        "    return first(n) + second(n)", "    pass"
    )
    inside = "class Late:\n" + "".join(f"    {line}\n" for line in together.split("class")[0].splitlines())
    inside += "def late(n):\n    return Late\n"
    for text in (late, inside):
        files = {"late.py": text, "extra.py": "def extra(n):\n    return n\n"}
        assert key({**files, "extra.py": "def extra(n):\n    return -n\n"}) != key(files)
        assert key(
            {**files, "deep.py": FILES["deep.py"].replace("return deep(n)", "return -deep(n)")}
        ) != key(files)


def test_modules_that_decide_nothing_are_named_by_the_author(key: Key) -> None:
    unkeyed = ', unkeyed=("mine.late",)'
    edited = {"late.py": FILES["late.py"].replace("return n\n", "return n + 1\n")}
    assert key(edited, unkeyed=unkeyed) == key(unkeyed=unkeyed) != key()


def test_a_module_that_decides_nothing_may_stand_in_a_package_that_does(key: Key) -> None:
    package = {"rules.py": None, "rules/__init__.py": FILES["rules.py"]}
    more = {**package, "rules/check.py": "def check(n):\n    return n\n"}
    assert key(more, unkeyed=', unkeyed=("mine.rules.check",)') == key(package) != key(more)


def test_files_beside_the_users_own_count(key: Key) -> None:
    uses = {"late.py": "from beside import late\n"}
    assert key(uses, beside=FILES["late.py"]) == key()
    assert key(uses, beside=FILES["late.py"].replace("return n\n", "return n + 1\n")) != key()


RUN_AFTER_AN_EDIT = """
import sys
from pathlib import Path
from mine.steps import own_step
from w2s_core.engine import Store, run_graph
handle = own_step()
handle.key
rules = Path(sys.modules["mine.deep"].__file__)
rules.write_text(rules.read_text().replace(sys.argv[2], sys.argv[3]))
outcome = run_graph({"it": handle}, Store(sys.argv[1]))
print(outcome.complete, *outcome.stopped.values())
"""


@pytest.mark.parametrize(
    ("new", "printed"),
    [
        ("def deep(n):  # at last", "True"),
        (
            "def deep(n=1):",
            "False the code of mine.deep changed since this command started: start it again",
        ),
    ],
)
def test_code_that_is_reached_may_not_change_between_planning_and_running(
    key: Key, tmp_path: Path, new: str, printed: str
) -> None:
    key({"deeper.py": FILES["deeper.py"].replace("if n else 1", "if n > 0 else 1")})
    done = subprocess.run(
        [sys.executable, "-c", RUN_AFTER_AN_EDIT, str(tmp_path / "store"), "def deep(n):", new],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path / "0"), str(ROOT)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == printed, done.stderr[-2000:]
