"""reasoning-gym's data sets as tasks: their splits, their scorers on answers of any kind, every refusal in one line."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from w2s_core.answers.grading import Grader
from w2s_core.data.splits import load_splits
from w2s_core.engine import Store
from w2s_core.errors import UserError
from w2s_core.tasks import gym as gym_task
from w2s_core.tasks import load_task

package = pytest.importorskip(
    "reasoning_gym", reason="reasoning-gym is not installed: pip install 'w2s[gym]'"
)
REPOSITORY = Path(__file__).resolve().parents[2]
SIZES = {"test": 8, "dev": 4, "train_1": 10, "train_2": 12}
SPLITS = tuple(SIZES)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    gym_task._items.cache_clear()


def options(dataset: str, **more: Any) -> dict[str, Any]:
    return {"dataset": dataset, **SIZES, **more}


def refusal(**given: Any) -> str:
    with pytest.raises(UserError) as told:
        load_task("reasoning_gym", given).load("test")
    assert "\n" not in str(told.value)
    return str(told.value)


def test_splits_are_slices_of_one_data_set_in_its_order() -> None:
    task = load_task("reasoning_gym", options("chain_sum", seed=100))
    drawn = package.create_dataset("chain_sum", seed=100, size=200)
    distinct = list(dict.fromkeys(drawn[i]["question"] for i in range(100)))[: sum(SIZES.values())]
    assert [p.question for split in SPLITS for p in task.load(split)] == distinct
    assert not load_splits("reasoning_gym", options("chain_sum", seed=100), "refuse", SPLITS).duplicates


def test_repeats_are_passed_over_and_more_training_leaves_the_evaluation_as_it_was() -> None:
    small = {"min_trials": 1, "max_trials": 6}  # many of the first items are repeats
    first, second = (
        load_task("reasoning_gym", options("coin_flip", config=small) | {"train_2": n}) for n in (12, 14)
    )
    asked = [p.question for split in SPLITS for p in first.load(split)]
    assert len(set(asked)) == len(asked)
    assert first.load("test") == second.load("test")


def test_items_come_from_the_cache_the_second_time(monkeypatch: pytest.MonkeyPatch) -> None:
    task = load_task("reasoning_gym", options("chain_sum"))
    before = task.load("train_1")
    gym_task._items.cache_clear()
    monkeypatch.setattr(gym_task, "_lines", lambda request: pytest.fail("drawn again"))
    assert task.load("train_1") == before


def test_the_scorer_decides_and_agrees_with_the_package() -> None:
    (problem,) = load_task("reasoning_gym", options("countdown") | {"test": 1}).load("test")
    entry = json.loads(problem.entry)
    target = entry["item"]["metadata"]["target"]
    swapped = f"({problem.gold}) + 0*0"
    answers = [problem.gold, f"({problem.gold})", "1 + 1", "no number", swapped, str(target)]
    dataset = package.create_dataset("countdown", seed=0, size=1)
    expected = [
        "right" if dataset.score_answer(answer, entry["item"]) >= 1 else "wrong" for answer in answers
    ]
    assert expected[:3] == ["right", "right", "wrong"]
    with Grader("reasoning_gym") as grader:
        assert grader.grade([(answer, problem.entry) for answer in answers]) == expected
        assert grader.grade([(None, problem.entry)]) == ["unparsed"]


def test_a_scorer_can_write_no_file_start_no_program_and_takes_no_longer_than_the_limit(
    tmp_path: Path,
) -> None:
    """`spiral_matrix` hands the answer to Python's eval, so an answer can be any program."""
    (problem,) = load_task("reasoning_gym", options("spiral_matrix") | {"test": 1}).load("test")
    mark = tmp_path / "mark"
    attacks = [
        f"__import__('os').system('touch {mark}')",
        f"open('{mark}', 'w')",
        f"__import__('os').open('{mark}', 65)",
        f"__import__('subprocess').run(['touch', '{mark}'])",
        "__import__('socket').socket()",
    ]
    score = package.create_dataset("spiral_matrix", seed=0, size=1).score_answer
    harmless = f"[open('{mark}', 'w')]"
    score(harmless, json.loads(problem.entry)["item"])
    assert mark.exists(), "without the barrier an answer writes a file"
    mark.unlink()
    with Grader("reasoning_gym", timeout_s=0.5) as grader:
        wrapped = [f"[{attack}]" for attack in attacks]
        assert set(grader.grade([(answer, problem.entry) for answer in wrapped])) == {"wrong"}
        endless = "[sum(1 for i in iter(int, 1))]"
        assert grader.grade([(endless, problem.entry), (problem.gold, problem.entry)]) == [
            "timed_out",
            "right",
        ]
    assert not mark.exists()


def test_levels_are_read_from_the_item_and_chains_of_thought_are_kept() -> None:
    task = load_task("reasoning_gym", options("chain_sum", level="num_terms"))
    for problem in task.load("test"):
        assert problem.level == json.loads(problem.entry)["item"]["metadata"]["num_terms"]
    (symbolic,) = load_task("reasoning_gym", options("gsm_symbolic") | {"test": 1}).load("test")
    assert len(symbolic.solution.splitlines()) > 1
    assert symbolic.solution.endswith(f"#### {symbolic.gold}")


def test_an_exact_data_set_is_compared_as_the_experiment_says() -> None:
    task = load_task("reasoning_gym", options("gcd", answer="number"))
    (problem, *_) = task.load("test")
    assert (task.answer_rule, problem.entry) == ("gsm8k", "")
    assert problem.solution == f"#### {problem.gold}"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (options("knight_knaves"), "no data set 'knight_knaves'; did you mean knights_knaves"),
        ({}, "option 'dataset' is missing"),
        (options("gcd"), "'gcd' has no scorer of its own"),
        (options("composite"), "composite has no members"),
        (options("rush_hour"), "gives no answer to its questions"),
        (options("coin_flip", config={"max_trials": 2, "min_trials": 1}), "gave 10 distinct questions in"),
        (options("coin_flip", config={"coins": 2}), "unexpected keyword argument 'coins'"),
        (options("chain_sum", config={"seed": 2}), "option 'config' sets seed"),
        (options("chain_sum", level="terms"), "no whole number 'terms'; it has: .*num_terms"),
        (options("chain_sum", test=0), "'test' must be a whole number of at least 1"),
        (options("chain_sum", answer="numbers"), "unknown answer rule 'numbers'"),
        (options("arc_agi"), "does not give the item's own answer"),
        (options("palindrome_partitioning", config={"min_string_len": 15}), "own answer .* full marks"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_line(given: dict[str, Any], words: str) -> None:
    import re

    assert re.search(words, refusal(**given))


def test_a_slow_data_set_says_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gym_task, "PATIENCE_S", 0.0)
    load_task("reasoning_gym", options("chain_sum")).load("test")
    assert "reasoning_gym chain_sum: 2 of 34 questions\n" in capsys.readouterr().err


def test_it_does_not_hang_on_the_order_of_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    """`ransom_note` goes through a set: its items differ between processes with different hashes."""
    drawn = []
    for seed in ("1", "2"):
        monkeypatch.setenv("PYTHONHASHSEED", seed)
        task = load_task("reasoning_gym", options("ransom_note", answer="text"))
        drawn.append([p.question for p in task.load("train_1")])
        gym_task._items.cache_clear()
    assert drawn[0] == drawn[1]


@pytest.mark.slow
def test_the_shipped_experiment_runs_from_end_to_end(tmp_path: Path) -> None:
    from tests.families.checkpoints import write_checkpoint
    from w2s_core.cli.main import w2s

    bases = {
        side: write_checkpoint("llama-3", tmp_path / side, seed=seed, steps=150)
        for seed, side in enumerate(("weak", "strong"), 1)
    }
    tuning = "{learning_rate: 1e-2, max_steps: 40, batch_size: 4}"
    changes = [f"{side}={folder}" for side, folder in bases.items()]
    changes += [f"task.options.{split}={n}" for split, n in (SIZES | {"train_2": 30}).items()]
    changes += [f"{name}={tuning}" for name in ("weak_sft", "sft", "stage2.dpo", "stage2.orpo")]
    changes += ["task.options.dataset=chain_sum", "task.options.config={max_terms: 2, max_digits: 1}"]
    changes += [
        "shots=1",
        "max_new_tokens=24",
        "evaluation.samples=0",
        "stage2.methods=[dpo]",
        "stage1.iterations=1",
    ]
    changes += [
        "stage1.samples=4",
        "stage1.consistency=0.05",
        "stage2.keep=0",
        "stage2.flip=0",
        "stage2.samples=4",
    ]
    shipped = REPOSITORY / "experiments" / "reasoning_gym" / "gsm_symbolic.yaml"
    arguments = [
        "--store",
        str(tmp_path / "store"),
        "run",
        str(shipped),
        *changes,
        "--name",
        "one",
        "--device",
        "cpu",
    ]
    done = CliRunner().invoke(w2s, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    store = Store(tmp_path / "store")
    targets = store.refs.read("one")["targets"]
    for label in ("greedy/test/weak_floor", "greedy/test/hybrid_ft_1", "greedy/test/ceiling"):
        assert store.has(targets[label]), f"{label} is missing: {done.output}"
    assert store.manifest(targets["greedy/test/ceiling"])["summary"]["graded"] == SIZES["test"]
