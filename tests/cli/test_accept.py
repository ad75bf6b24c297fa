"""`w2s accept` as a user types it: old code, an edit, a further edit, and back."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

STEPS = """
from w2s_core.engine import step
from rules import rule

@step(version=1)
def doubled(ctx, *, n: int):
    return {"n": rule(n)}

@step(version=1)
def added(ctx, *, parts):
    return {"parts": len(parts)}
"""
RULES = {
    "old": "def rule(n):\n    return n * 2\n",
    "new": "def rule(n):\n    return 2 * n\n",
    "further": "def rule(n):\n    return 2 * n + 1\n",
}

# What a script of the user's does: `state` plans, `run` computes; both with `upto` parts
DRIVER = """
import sys
import my_steps
from w2s_core.engine import Store, acceptances_used, explain, plan, run_graph
from w2s_core.errors import UserError
_, command, root, upto, workers = sys.argv
target = my_steps.added(parts=[my_steps.doubled(n=n) for n in range(int(upto))])
store = Store(root)
if command == "plan":
    print(sum(one.state == "missing" for one in plan([target], store)))
elif command == "run":
    outcome = run_graph({"it": target}, store, workers=int(workers))
    print(len(outcome.done), outcome.failed)
elif command == "used":
    print([str(entry) for entry in acceptances_used(store, [target.key])])
elif command == "explain":
    print(explain(my_steps.doubled(n=0), store))
"""


class Project:
    """A folder with the user's steps and rules, and a store."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.store = folder, folder / "store"
        (folder / "my_steps.py").write_text(STEPS)
        (folder / "driver.py").write_text(DRIVER)
        self.write("old")

    def write(self, rule: str) -> None:
        (self.folder / "rules.py").write_text(RULES[rule])

    def call(self, command: str, upto: int = 3, workers: int = 1) -> str:
        return self._python("driver.py", command, self.store, upto, workers).stdout.strip()

    def w2s(self, *arguments: object, steps: str = "my_steps") -> subprocess.CompletedProcess[str]:
        start = f"import sys; import {steps}; from w2s_core.cli.main import main; main()"
        return self._python("-c", start, "--store", self.store, *arguments, check=False)

    def refused(self, *arguments: object) -> str:
        done = self.w2s(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        return done.stderr

    def _python(self, *arguments: object, check: bool = True) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join(map(str, (self.folder, ROOT)))
        done = subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert not check or done.returncode == 0, done.stderr[-2000:]
        assert "Traceback" not in done.stderr
        return done


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path)
    assert made.call("run") == "4 {}"
    return made


def test_results_stand_until_a_further_edit(project: Project) -> None:
    project.write("new")
    assert project.call("plan") == "4"
    done = project.w2s("accept", "doubled", "--reason", "only the order  of factors")
    assert done.returncode == 0, done.stderr
    line, part = done.stdout.splitlines()
    assert line.startswith("doubled accepted on 20")
    assert ": only the order of factors (" in line
    assert part.startswith("  rules: ")
    assert project.call("plan") == "0"
    assert project.call("run", upto=5, workers=2) == "3 {}"  # two new parts and their sum, by the new code
    assert "only the order of factors" in project.call("used")
    assert "accepted on 20" in project.call("explain")
    assert project.w2s("verify").returncode == 0
    project.write("further")
    assert project.call("plan") == "4"
    assert "for other code" in project.w2s("accept").stdout
    assert "accepted on" not in project.call("explain")
    project.write("new")
    assert project.call("plan") == "0"
    assert "in force" in project.w2s("accept", "--list").stdout


def test_an_acceptance_is_taken_back(project: Project) -> None:
    project.write("new")
    project.w2s("accept", "doubled", "--reason", "harmless")
    done = project.w2s("accept", "doubled", "--undo")
    assert done.stdout.startswith("taken back: doubled accepted on 20")
    assert project.call("plan") == "4"
    assert project.call("used") == "[]"
    assert project.w2s("accept").stdout == f"nothing is accepted in {project.store}\n"
    assert "nothing to take back: no acceptance of step doubled" in project.refused(
        "accept", "doubled", "--undo"
    )
    project.write("old")
    assert project.call("plan") == "0"


def test_a_result_that_the_accepted_code_made_does_not_stand_by_it(project: Project) -> None:
    project.write("new")
    project.w2s("accept", "doubled", "--reason", "harmless")
    assert project.call("run", upto=1) == "1 {}"
    assert len(entries(project.call("used", upto=1))) == 1
    for folder in (project.store / "objects").glob("*/*"):  # made anew, by the code of today
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
    assert project.call("run") == "4 {}"
    assert project.call("used") == "[]"


def entries(text: str) -> list[str]:
    """The entries of a printed list of texts without commas."""
    return [entry for entry in text.strip("[]").split(",") if entry]


def test_of_several_old_codes_the_latest_is_meant_or_the_one_that_is_named(project: Project) -> None:
    first = project.w2s("verify")
    assert first.returncode == 0
    old = next(iter(sorted(path.parent.name for path in made_by(project, "doubled"))))
    project.write("further")
    assert project.call("run") == "4 {}"
    project.write("new")
    assert "doubled accepted" in project.w2s("accept", "doubled", "--reason", "the latest").stdout
    assert project.call("plan") == "0"
    assert project.call("run", upto=4) == "2 {}"
    assert "the latest" in project.call("used")
    done = project.w2s("accept", "doubled", "--reason", "the first", "--from", old[:12])
    assert "the first" in done.stdout
    assert project.call("plan") == "0"
    assert "the first" in project.call("used")


def made_by(project: Project, step: str) -> list[Path]:
    return [path for path in project.store.rglob("manifest.json") if f'"step": "{step}"' in path.read_text()]


def test_mistakes_are_one_line(project: Project) -> None:
    nothing = f"w2s: nothing to accept: {project.store} has no result of step doubled made by other code than today's\n"
    assert project.refused("accept", "doubled", "--reason", "x") == nothing
    assert (
        "no step is named 'doubeld' in this version of the program; did you mean 'doubled'?"
        in project.refused("accept", "doubeld", "--reason", "x")
    )
    project.write("new")
    assert "the reason is empty" in project.refused("accept", "doubled", "--reason", " ")
    assert "--reason is missing" in project.refused("accept", "doubled")
    assert "which step?" in project.refused("accept", "--reason", "x")
    assert "0 results have a key that starts with 'zz'" in project.refused(
        "accept", "doubled", "--reason", "x", "--from", "zz"
    )
    other = made_by(project, "added")[0].parent.name
    assert f"the result {other} is of step added, not of doubled" in project.refused(
        "accept", "doubled", "--reason", "x", "--from", other
    )
    text = (project.folder / "my_steps.py").read_text()
    (project.folder / "my_steps.py").write_text(text.replace("version=1", "version=2"))
    assert "of version 1, it is at 2 now, and another version makes every result anew" in project.refused(
        "accept", "doubled", "--reason", "x"
    )


def test_a_damaged_acceptance_is_named(project: Project) -> None:
    project.write("new")
    project.w2s("accept", "doubled", "--reason", "harmless")
    [path] = (project.store / "accepted").rglob("*.json")
    path.write_text("{")
    assert f"the acceptance {path} cannot be read: delete it" in project.refused("runs")
