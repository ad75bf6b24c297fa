"""Plug-ins by their two ways in, and what a user is told where one cannot be used."""

import importlib
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, create_model

from tests.cli.foreign import TASK, write_method
from tests.metadata import declared, write_metadata
from w2s_core import plugins
from w2s_core.cli.listing import type_name
from w2s_core.cli.main import main
from w2s_core.data import splits
from w2s_core.engine import step as engine_step
from w2s_core.errors import UserError
from w2s_core.plugins import RECIPES, RULES, TASKS, loaded_imports

Command = Callable[..., tuple[int, str]]


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Each test begins without plug-ins, in a folder of its own, and leaves none behind."""
    steps = sys.modules[engine_step.__module__]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(plugins, "_imports", {})
    monkeypatch.setattr(steps, "_registry", dict(vars(steps)["_registry"]))
    monkeypatch.delenv("W2S_IMPORT", raising=False)
    for registry in (RECIPES, TASKS, RULES):
        monkeypatch.setattr(registry, "_registered", {})
    splits._load_splits.cache_clear()  # problems of another test's task of the same name
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def w2s(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """The command line in this process: its exit status, and all that it printed."""

    def run(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["w2s", "--store", str(tmp_path / "store"), *map(str, arguments)])
        with pytest.raises(SystemExit) as ending:
            main()
        output = capsys.readouterr()
        return int(ending.value.code or 0), output.out + output.err

    return run


def refusal(result: tuple[int, str]) -> str:
    """The one line in which a command was refused."""
    status, output = result
    assert status == 2, output
    assert output.count("\n") == 1, output
    return output.removeprefix("w2s: ").strip()


def plan(w2s: Command, config: Path, *modules: object) -> tuple[int, str]:
    options = [part for module in modules for part in ("--import", module)]
    return w2s(*options, "plan", config, "--device", "cpu")


# The two ways in


def test_a_module_of_the_current_folder_brings_a_recipe(w2s: Command, tmp_path: Path) -> None:
    config = write_method(tmp_path)
    status, output = plan(w2s, config, "my_method")
    assert status == 0
    assert re.search(r"^greedy/test/tuned +missing", output, re.MULTILINE)
    assert "shortest_sample:" in output
    assert loaded_imports() == {"modules": ["my_method"], "paths": [str(tmp_path)]}


def test_a_file_elsewhere_brings_one_too(
    w2s: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_method(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert plan(w2s, config, "../my_method.py")[0] == 0
    assert loaded_imports() == {"modules": ["my_method"], "paths": [str(tmp_path)]}


@pytest.mark.parametrize("separator", [",", ":", " , "])
def test_the_shell_may_name_modules(
    w2s: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, separator: str
) -> None:
    config = write_method(tmp_path, task={"name": "sums"})
    (tmp_path / "my_task.py").write_text(TASK)
    monkeypatch.setenv("W2S_IMPORT", separator.join(["my_method", "my_task.py"]))
    status, output = w2s("plan", config, "--device", "cpu")
    assert status == 0, output
    assert loaded_imports()["modules"] == ["my_method", "my_task"]


def test_a_package_brings_a_recipe_a_task_and_a_rule_by_entry_points(
    w2s: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_method(
        tmp_path, ('RECIPE = RECIPES.register(\n    "shortest",', "RECIPE = (lambda r: r)(")
    )
    (tmp_path / "my_task.py").write_text(TASK.replace("RULES.register", "# ").replace("TASKS.register", "# "))
    groups = {
        "w2s.recipes": {"shortest": "my_method:RECIPE"},
        "w2s.tasks": {"sums": "my_task:sums"},
        "w2s.answer_rules": {"total": "my_task:read_total"},
    }
    write_metadata(tmp_path, "mypackage", groups)
    monkeypatch.syspath_prepend(tmp_path)
    status, output = w2s("plan", config, "task.name=sums", "task.options={}", "--device", "cpu")
    assert status == 0, output
    assert re.search(
        r"^shortest +package mypackage +Learn from the shortest", w2s("recipes")[1], re.MULTILINE
    )
    listed = w2s("tasks")[1]
    assert re.search(r"^sums +package mypackage +Read `below`, a whole number\.$", listed, re.MULTILINE)
    assert re.search(r"^total +package mypackage +What follows the last `total:`\.$", listed, re.MULTILINE)


def test_a_config_imports_nothing(w2s: Command, tmp_path: Path) -> None:
    config = write_method(tmp_path, recipe="my_method")
    line = refusal(w2s("plan", config))
    assert line.startswith(f"{config}:1: recipe: unknown recipe 'my_method'; known: ")
    assert "my_method" not in sys.modules


def test_a_folder_of_the_users_cannot_hide_a_package(w2s: Command, tmp_path: Path) -> None:
    config = write_method(tmp_path)
    (tmp_path / "pydantic").mkdir()
    (tmp_path / "pydantic" / "__init__.py").write_text("raise RuntimeError\n")
    assert plan(w2s, config, "my_method")[0] == 0
    assert sys.path[-1] == str(tmp_path)


# What is there


def test_every_built_in_entry_exists() -> None:
    for registry in (RECIPES, TASKS, RULES):
        for name in registry.builtin:
            assert registry.get(name), name
            assert registry.origins()[name] == "built in"


def test_recipes_shows_fields_with_type_default_and_description(w2s: Command, tmp_path: Path) -> None:
    write_method(tmp_path)
    status, output = w2s("--import", "my_method", "recipes", "shortest")
    assert status == 0
    assert output.startswith(f"shortest ({tmp_path}/my_method.py:")
    rows = [re.split(" {2,}", line) for line in output.splitlines()]
    assert ["model", "str", "required", "folder of the base model"] in rows
    assert ["draws.number", "int >= 2", "2", "samples a question"] in rows
    assert ["tuning", "Training", "required"] in rows
    assert ["Training: field", "type", "default", "description"] in rows
    assert ["trust_remote_code", "bool", "False", "run Python code that a checkpoint brings"] in rows
    assert not any("stage" in line for line in output.splitlines())


def test_recipes_lists_what_cannot_be_used_with_the_reason(
    w2s: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_metadata(tmp_path, "broken", {"w2s.recipes": {"gone": "nowhere:RECIPE", "text": "string:digits"}})
    monkeypatch.syspath_prepend(tmp_path)
    status, output = w2s("recipes")
    assert status == 0
    gone, text = (
        next(line for line in output.splitlines() if line.startswith(name)) for name in ("gone", "text")
    )
    assert "cannot be used: recipe 'gone' (package broken, nowhere:RECIPE): ModuleNotFoundError" in gone
    assert "must be a w2s_core.recipes.recipe.Recipe, not of type str" in text


def test_tasks_shows_the_options_of_one(w2s: Command) -> None:
    output = w2s("tasks", "gsm8k")[1]
    assert output.startswith("gsm8k (built in): GSM8K from one source.")
    rows = [re.split(" {2,}", line) for line in output.splitlines()]
    assert ["dev", "int >= 0", "0", "taken out of train_1; 0 reads dev.jsonl [questions]"] in rows


@pytest.mark.parametrize(
    ("annotation", "name"),
    [
        (int, "int"),
        (Annotated[int, Field(ge=1)], "int >= 1"),
        (Annotated[float, Field(gt=0)] | None, "float > 0 | none"),
        (tuple[Literal["dpo", "orpo"], ...], "list of dpo | orpo"),
        (dict[str, int], "mapping to int"),
    ],
)
def test_types_are_named_as_a_file_has_them(annotation: Any, name: str) -> None:
    model = create_model("Fields", field=(annotation, ...))
    assert type_name(model.model_fields["field"]) == name


# What is refused


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"recipe": "shortes"}, "recipe: unknown recipe 'shortes'; did you mean 'shortest'? known: "),
        (
            {"task": {"name": "minni"}},
            "my.yaml:1: field 'task.name': unknown task 'minni'; did you mean 'mini'? known: ",
        ),
    ],
)
def test_an_unknown_name_is_told_with_the_places_looked_at(
    w2s: Command, tmp_path: Path, changes: dict[str, object], line: str
) -> None:
    result = refusal(plan(w2s, write_method(tmp_path, **changes), "my_method"))
    assert line in result
    assert "the entry points 'w2s." in result
    assert result.endswith("and in modules given with --import: my_method)")


def test_an_unknown_rule_of_a_task_is_told(w2s: Command, tmp_path: Path) -> None:
    (tmp_path / "my_task.py").write_text(TASK.replace('answer_rule = "total"', 'answer_rule = "totals"'))
    result = refusal(plan(w2s, write_method(tmp_path, task={"name": "sums"}), "my_method", "my_task"))
    assert re.search(
        r"my.yaml:\d+: field 'task.name': unknown answer rule 'totals'; did you mean 'total'\? ", result
    )


@pytest.mark.parametrize(
    ("task", "line"),
    [
        (
            {"name": "mini", "options": {"seed": 1, "trian_1": 5}},
            ":{line}: field 'task.options.trian_1': task 'mini': unknown option 'trian_1'; did you mean 'train_1'?",
        ),
        (
            {"name": "mini", "options": {"train_1": 0}},
            ":{line}: field 'task.options.train_1': task 'mini': option 'train_1' must be ",
        ),
        (
            {"name": "jsonl", "options": {"data": "x", "answer": "gms8k"}},
            ":{line}: field 'task.options': unknown answer rule 'gms8k'; did you mean 'gsm8k'?",
        ),
    ],
)
def test_an_option_that_a_task_cannot_take_is_told_with_its_line(
    w2s: Command, tmp_path: Path, task: dict[str, Any], line: str
) -> None:
    config = write_method(tmp_path, task=task)
    config.write_text(json.dumps(json.loads(config.read_text()), indent=1))
    place = line.partition("field 'task.")[2].partition("'")[0].split(".")[-1]
    number = next(i for i, text in enumerate(config.read_text().splitlines(), 1) if f'"{place}":' in text)
    assert f"{config}{line.format(line=number)}" in refusal(plan(w2s, config, "my_method"))


def test_an_option_that_an_override_set_is_told_as_such(w2s: Command, tmp_path: Path) -> None:
    config = write_method(tmp_path)
    result = refusal(w2s("--import", "my_method", "plan", config, "task.options.sede=1"))
    assert (
        f"{config} with override task.options.sede: field 'task.options.sede': task 'mini': unknown" in result
    )


def test_a_module_that_adds_nothing_is_told(w2s: Command, tmp_path: Path) -> None:
    write_method(tmp_path)
    (tmp_path / "forgot.py").write_text("from w2s_core.recipes.self_training import RECIPE\n")
    (tmp_path / "my_steps.py").write_text(
        "from w2s_core.engine import step\n@step(version=1)\ndef my_own_step(ctx, *, n):\n    return {}\n"
    )
    warning = "warning: --import forgot adds nothing: neither a recipe, a task, an answer rule nor a step"
    assert warning in w2s("--import", "my_steps", "--import", "forgot", "tasks")[1]
    twice = w2s("--import", "my_method", "--import", "my_method.py", "--import", "my_steps", "tasks")
    assert (twice[0], twice[1].count("warning")) == (0, 0)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "import nothing_of_this_name\n",
            "ModuleNotFoundError: No module named 'nothing_of_this_name' ({file}:1)",
        ),
        ("\n\ndef f(:\n", "SyntaxError: invalid syntax ({file}:3)"),
        ("x = 1\n1 / 0\n", "ZeroDivisionError: division by zero ({file}:2)"),
        ("import sys\nsys.exit('no\\nway')\n", "SystemExit: no way ({file}:2)"),
    ],
)
def test_a_plug_in_that_does_not_import_tells_its_own_error(
    w2s: Command, tmp_path: Path, text: str, line: str
) -> None:
    file = tmp_path / "broken_plugin.py"
    file.write_text(text)
    for module in ("broken_plugin", file):
        assert refusal(w2s("--import", module, "gc")) == f"--import {module}: {line.format(file=file)}"


def test_a_plug_in_that_is_not_there_is_told(w2s: Command, tmp_path: Path) -> None:
    missing = "--import {0}: there is no module '{1}' in {2} or on Python's path"
    assert refusal(w2s("--import", "nowhere", "gc")) == missing.format("nowhere", "nowhere", tmp_path)
    assert refusal(w2s("--import", "json.no", "gc")) == missing.format("json.no", "json.no", tmp_path)
    assert refusal(w2s("--import", "no.py", "gc")) == "--import no.py: there is no such file"


def test_a_bare_folder_and_what_is_no_modules_name_are_told(w2s: Command, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    line = refusal(w2s("--import", "folder", "gc"))
    assert line.startswith(
        f"--import folder: {tmp_path}/folder is a folder without __init__.py: name a module in it"
    )
    for name in (".", "", "folder/", "folder/my_task", "my-task"):
        assert refusal(w2s("--import", name, "gc")).startswith(
            f"--import {name}: no module can have that name"
        )


def test_a_name_that_python_has_already_is_refused(w2s: Command, tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("")
    line = refusal(w2s("--import", "json.py", "gc"))
    assert line.startswith("--import json.py: Python has another module 'json' (")
    assert line.endswith(f": rename {tmp_path}/json.py")
    (tmp_path / "my-task.py").write_text("")
    assert "'my-task' cannot be a module's name" in refusal(w2s("--import", "my-task.py", "gc"))


def test_two_modules_with_a_recipe_of_one_name_are_refused(w2s: Command, tmp_path: Path) -> None:
    write_method(tmp_path)
    other = (tmp_path / "my_method.py").read_text().replace("def shortest_sample", "def shortest_other")
    (tmp_path / "other_method.py").write_text(other)
    line = refusal(w2s("--import", "my_method", "--import", "other_method", "recipes"))
    number = r":\d+"
    files = f"{tmp_path}/my_method.py{number} and {tmp_path}/other_method.py{number}"
    assert re.fullmatch(f"two recipes are named 'shortest': {files}", line)


def test_two_steps_of_one_name_are_refused(w2s: Command, tmp_path: Path) -> None:
    write_method(tmp_path)
    other = (tmp_path / "my_method.py").read_text().replace('"shortest",', '"other",')
    (tmp_path / "other_method.py").write_text(other)
    line = refusal(w2s("--import", "my_method", "--import", "other_method", "recipes"))
    assert line.startswith("--import other_method: ValueError: ")
    assert "shortest_sample" in line
    assert f"({tmp_path}/other_method.py:" in line


def test_one_module_with_two_rules_of_one_name_is_refused(w2s: Command, tmp_path: Path) -> None:
    (tmp_path / "twice.py").write_text(f"{TASK}\n\nRULES.register('total', len)\n")
    assert refusal(w2s("--import", "twice", "tasks")).startswith("two answer rules are named 'total': ")


def test_the_same_file_under_two_names_is_one_plug_in(w2s: Command, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "my_task.py").write_text(TASK)
    assert w2s("--import", "folder.my_task", "--import", "folder/my_task.py", "tasks")[0] == 0


def test_a_built_in_name_is_not_to_be_had(w2s: Command, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(TASK.replace('"sums", sums', '"mini", sums'))
    assert "the task 'mini' is built in; give yours another name" in refusal(w2s("--import", "mine", "tasks"))


def test_two_packages_with_one_name_are_refused(
    w2s: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package, place in (("alpha", "a:R"), ("beta", "b:R"), ("gamma", "a:R")):
        write_metadata(tmp_path / package, package, {"w2s.recipes": {"same": place}})
        monkeypatch.syspath_prepend(tmp_path / package)
    line = refusal(w2s("recipes"))
    assert re.fullmatch(r"two recipes are named 'same': package \w+ and package \w+", line)


def test_a_package_and_a_module_with_one_name_are_refused(
    w2s: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_metadata(tmp_path, "other", {"w2s.answer_rules": {"total": "string:capwords"}})
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_task.py").write_text(TASK)
    result = refusal(plan(w2s, write_method(tmp_path, task={"name": "sums"}), "my_method", "my_task"))
    assert re.fullmatch(
        rf".*my.yaml:1: field 'task.name': two answer rules are named 'total': package other and {tmp_path}"
        r"/my_task\.py:\d+",
        result,
    )


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ('targets.judge("tuned"', 'targets.judge("base"', "names the target 'greedy/test/base' twice"),
        (
            "shortest_sample(responses=samples)",
            'shortest_sample(responses=given.gold["train_2"])',
            "step shortest_sample: 'responses' takes responses, not gold (from step gold(split=train_2))",
        ),
        (
            "n=x.draws.number, temperature=x.draws.temperature",
            "n=2, temperature=x.draws.temperature",
            "recipe 'shortest': its field 'draws.number' is read nowhere in {file}: use it or take it out",
        ),
        (
            'given.questions["train_2"]',
            'given.questions["train_3"]',
            "'train_3' is not named by the recipe's `splits` and evaluation.splits: train_2, test ({file}:",
        ),
        (
            'given.base["model"]',
            'given.base["modell"]',
            "recipe 'shortest': LookupError: 'modell' is not named by the recipe's `models`: model ({file}:",
        ),
        (
            'chosen, "train_2"',
            'chosen, "dev"',
            "LookupError: 'dev' is not named by the recipe's `splits` and evaluation.splits: train_2, test ({file}:",
        ),
        (
            'role="floor"',
            'role="flor"',
            "its target 'base' has the role 'flor', which is none of floor, ceiling,",
        ),
        (
            'title="the base model"',
            'title="the base\\nmodel"',
            "its target 'base' needs a title of one line, not 'the base\\nmodel'",
        ),
        ('targets.label("chosen"', 'targets.label("my/own"', "its target 'my/own' can have letters, digits"),
        (
            'targets.label("chosen", chosen, "train_2"',
            'targets.keep("rows", 3',
            "its target 'rows' must be what a step gives, not of type int",
        ),
        (
            'final=lambda x: "tuned"',
            'final=lambda x: "tund"',
            "recipe 'shortest': its `final` names 'tund', which it does not judge; judged: base, tuned",
        ),
        (
            'final=lambda x: "tuned"',
            'final=lambda x: "tuned", rungs=lambda x: ["first"]',
            "recipe 'shortest': its `rungs` names 'first', which it does not judge; judged: base, tuned",
        ),
        ('name="shortest"', 'name="short"', "the recipe 'shortest' calls itself 'short': give it one name"),
        ("x.training(x.tuning)", "x.trainings(x.tuning)", "recipe 'shortest': AttributeError: "),
        ('models=("model",)', 'models=("modell",)', "Shortest has no field 'modell', which models name"),
        ("fields=Shortest", "fields=Draws", "Draws must be a subclass of Experiment"),
    ],
)
def test_a_recipe_that_cannot_be_right_is_refused_when_it_is_planned(
    w2s: Command, tmp_path: Path, old: str, new: str, line: str
) -> None:
    config = write_method(tmp_path, (old, new))
    assert line.format(file=tmp_path / "my_method.py") in refusal(plan(w2s, config, "my_method"))
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("return Sums(", "return dict(", "task 'sums': TypeError: "),
        ("return Sums(options", "return str(options", "task 'sums': its function gave a str without name"),
        (
            "        return [\n            Problem(",
            "        return [{}]\n        [\n            Problem(",
            "task 'sums': split 'train_2' must hold w2s_core.tasks.Problem, not dict",
        ),
        ("first = self", "first = 1 / 0 + self", "task 'sums': ZeroDivisionError: division by zero ({file}:"),
        (
            'RULES.register("total", read_total)',
            'RULES.register("total", lambda text: text)',
            "answer rule 'total': keys need its code, so it must be a plain function",
        ),
        (
            'RULES.register("total", read_total)',
            'RULES.register("total", "text")',
            "the answer rule 'total' must be a function from a response to its final answer or None, not of type str",
        ),
        (
            'RULES.register("total", read_total)',
            'RULES.register("in total", read_total)',
            "no answer rule can be named 'in total'",
        ),
    ],
)
def test_a_task_or_rule_that_cannot_be_right_is_refused(
    w2s: Command, tmp_path: Path, old: str, new: str, line: str
) -> None:
    file = tmp_path / "my_task.py"
    assert old in TASK
    file.write_text(TASK.replace(old, new))
    result = refusal(plan(w2s, write_method(tmp_path, task={"name": "sums"}), "my_method", "my_task"))
    assert line.format(file=file) in result


# The code of a rule decides results


def import_task(folder: Path, text: str) -> None:
    """The task's module with this text, loaded anew."""
    (folder / "my_task.py").write_text(text)
    sys.modules.pop("my_task", None)
    RULES._registered.clear()
    TASKS._registered.clear()
    importlib.invalidate_caches()
    plugins.import_module("my_task.py")


def test_a_rules_code_is_in_the_key_and_its_layout_is_not(tmp_path: Path) -> None:
    from w2s_core.steps.common import rule_key, rule_name

    import_task(tmp_path, TASK)
    key = rule_key("total")
    assert re.fullmatch("total [0-9a-f]{16}", key)
    assert rule_name(key) == "total"
    import_task(tmp_path, TASK.replace("_, marker", "# a remark\n    _, marker"))
    assert rule_key("total") == key
    import_task(tmp_path, TASK.replace('rpartition("total:")', 'rpartition("sum:")'))
    assert rule_key("total") != key
    for wrong in (key, "total"):
        with pytest.raises(UserError, match="the code of answer rule 'total' changed since this command"):
            rule_name(wrong)
    assert rule_key("gsm8k") == rule_name("gsm8k") == "gsm8k"


def test_a_rule_reads_answers_and_the_grader_compares_them(tmp_path: Path) -> None:
    from w2s_core.answers.extract import Verdict, extract
    from w2s_core.answers.grading import Grader

    import_task(tmp_path, TASK)
    assert extract("7 and so total: 1,080.0 of them", "total") == "1,080.0"
    assert extract("#### 5", "total") is None
    with Grader("total") as grader:
        verdicts = grader.grade([("1,080.0", "1080"), ("5", "1080"), (None, "1080")])
    assert verdicts == [Verdict.RIGHT, Verdict.WRONG, Verdict.UNPARSED]


def test_the_commands_on_files_take_a_rule(w2s: Command, tmp_path: Path) -> None:
    (tmp_path / "my_task.py").write_text(TASK)
    (tmp_path / "responses.jsonl").write_text('{"id": "a", "response": "so total: 7"}\n')
    (tmp_path / "gold.jsonl").write_text('{"id": "a", "gold": "7"}\n')
    arguments = ("--responses", "responses.jsonl", "--gold", "gold.jsonl")
    status, output = w2s("--import", "my_task", "data", "grade", "--task", "total", *arguments)
    assert status == 0, output
    (summary,) = (json.loads(line) for line in output.splitlines() if line.startswith("{"))
    assert summary["right"] == 1
    assert "unknown answer rule 'totals'; did you mean 'total'?" in refusal(
        w2s("--import", "my_task", "data", "grade", "--task", "totals", *arguments)
    )


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("return 1 / 0", "answer rule 'total': ZeroDivisionError: division by zero"),
        ("return 5", "answer rule 'total' gave an object of type int: it must give a str or None"),
    ],
)
def test_a_rule_that_fails_is_one_line_with_its_name(tmp_path: Path, body: str, line: str) -> None:
    from w2s_core.answers.extract import extract

    import_task(tmp_path, TASK.replace("_, marker, answer =", f"{body}\n    _, marker, answer ="))
    with pytest.raises(UserError) as caught:
        extract("total: 5", "total")
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


# Fields that nothing reads

CHECKED_NUMBER = """    @field_validator('number')
    def check(cls, number):
        return cls.number
"""


@pytest.mark.parametrize(
    ("edits", "unread"),
    [
        ([], None),
        ([("x.draws.number", "2")], "draws.number"),
        ([("x.draws.number", '2 if "number" else 3')], None),
        ([("x.draws.number", 'getattr(x.draws, "number")')], None),
        ([("x.draws.number", "2"), ("temperature=x.draws.temperature", "**x.draws.model_dump()")], None),
        ([("x.tuning", "Training(learning_rate=1.0, max_steps=1)")], "tuning"),
        (
            [
                ("x.draws.number", "2"),
                (
                    "    temperature: float",
                    CHECKED_NUMBER + "    temperature: float",
                ),
                ("from pydantic import Field", "from pydantic import Field, field_validator"),
            ],
            "draws.number",
        ),
        (
            [("x.draws.number", "helper.count(x)"), ("import sft", "import sft\nimport helper")],
            None,
        ),
    ],
)
def test_a_field_counts_as_read_where_code_mentions_it(
    tmp_path: Path, edits: list[tuple[str, str]], unread: str | None
) -> None:
    from w2s_core.recipes.unused_fields import check_fields_are_read

    (tmp_path / "helper.py").write_text("def count(x):\n    return x.draws.number\n")
    write_method(tmp_path, *edits)
    plugins.import_module("my_method")
    recipe = RECIPES.get("shortest")
    if unread is None:
        check_fields_are_read(recipe.name, recipe.fields, recipe.models, recipe.build)
        return
    with pytest.raises(UserError, match=f"its field '{unread}' is read nowhere in .*my_method.py"):
        check_fields_are_read(recipe.name, recipe.fields, recipe.models, recipe.build)


# Commands and reports of other packages


def test_what_this_tree_declares_exists() -> None:
    for group, points in declared().items():
        for name, place in points.items():
            assert callable(plugins.load_place(place)), (group, name)


def test_the_core_names_no_package_that_stands_on_it() -> None:
    core = Path(plugins.__file__).parent
    words = re.compile(
        r"\bw2s_(analysis|sweeps)[.:]|[\"']w2s_(analysis|sweeps)[\"']|import w2s_(analysis|sweeps)\b"
    )
    files = [
        file for file in core.rglob("*.py") if file.parent.name != "recipes"
    ]  # a recipe names its report
    assert len(files) > 50
    assert not [str(file) for file in files if words.search(file.read_text())]
