"""Warm-up: which questions it reads, and what stands before them while it trains."""

import random
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.recipes.placeholders import experiment, handles_of, walk
from tests.tasks.test_mini import bare
from tests.tiny import BASES
from w2s_core.data.splits import load_splits
from w2s_core.errors import StopBranch
from w2s_core.lab.domains import DOMAINS
from w2s_core.models import encoder_of
from w2s_core.plugins import RECIPES, TASKS
from w2s_core.preflight import base_uses
from w2s_core.rows import read_rows, write_rows
from w2s_core.runs import build_graph
from w2s_core.steps import demonstrate_gold, show_gold
from w2s_core.tasks import Problem, load_task

SIZES = {"train_1": 90, "train_2": 90, "dev": 60, "test": 60, "pretrain": 300, "levels": [1, 2]}
QUESTIONS = {f"q{i}": f"What is {i} + 1?" for i in range(20)}
TEMPLATE = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{{ eos_token }}{% endfor %}<|assistant|>"


@pytest.fixture(name="bucket")
def make_bucket(tmp_path: Path) -> dict[str, Path]:
    """Twenty questions and their gold, as the steps read them."""
    for name in ("questions", "gold", "out"):
        (tmp_path / name).mkdir()
    write_rows(
        tmp_path / "questions" / "rows.parquet", [{"id": k, "question": q} for k, q in QUESTIONS.items()]
    )
    solutions = [{"id": key, "solution": f"It is {key}.\n#### {key[1:]}"} for key in reversed(QUESTIONS)]
    write_rows(tmp_path / "gold" / "rows.parquet", solutions)
    return {"questions": tmp_path / "questions", "gold": tmp_path / "gold"}


def computed(step: Any, folder: Path, **arguments: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The rows and the summary that a step writes."""
    summary = step.function(SimpleNamespace(out=folder / "out"), **arguments)
    return read_rows(folder / "out" / "rows.parquet"), summary


def test_the_bucket_is_the_one_of_the_labs_pretraining_and_no_other_split_holds_any_of_it() -> None:
    task = load_task("mini", SIZES)
    stories = {split: {bare(p.question) for p in task.load(split)} for split in task.splits}
    bucket = stories.pop("pretrain")
    assert len(bucket) == 300
    assert not any(bucket & others for others in stories.values())
    rng, lab = random.Random(7), DOMAINS["mini"]
    drawn = lab.draw(rng, 1, "pretrain")
    read_by_lab = {bare(lab.tell(rng, next(drawn))) for _ in range(6000)}
    easy = {bare(p.question) for p in task.load("pretrain") if p.level == 1}
    assert len(easy) == 150
    assert len(easy & read_by_lab) > 120  # the rest is of stories that are drawn too rarely to meet
    assert not any(read_by_lab & others for others in stories.values())


def test_a_copy_of_a_question_is_taken_out_of_the_bucket_and_not_out_of_the_test(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    copy = Problem("a", "What is 1 + 1?", "2", "#### 2", 1, "sum")
    other = Problem("b", "What is 1 + 2?", "3", "#### 3", 1, "sum")
    splits = {"pretrain": [copy, other], "test": [copy]}
    task = SimpleNamespace(name="copies", answer_rule="gsm8k", splits=tuple(splits), load=splits.__getitem__)
    monkeypatch.setitem(TASKS._registered, "copies", (lambda options: task, "here"))
    kept = load_splits("copies", {}, "drop", ("pretrain", "test")).problems
    assert {name: [p.id for p in problems] for name, problems in kept.items()} == {
        "pretrain": ["b"],
        "test": ["a"],
    }


def test_no_question_or_gold_of_another_split_reaches_the_training() -> None:
    warmed = handles_of(experiment("warm_up"))["greedy/dev/warmed"].inputs["responses"].inputs["model"]
    data = [h for h in walk([warmed]) if h.name in ("questions", "gold")]
    assert sorted((h.name, h.params["split"]) for h in data) == [
        ("gold", "pretrain"),
        ("questions", "pretrain"),
    ]


def test_the_study_s_accuracy_is_of_the_warmed_model() -> None:
    assert RECIPES.get("warm_up").final(experiment("warm_up")) == "warmed"


@pytest.mark.parametrize(
    ("prompt", "user"),
    [
        (None, "Question: {question}\nAnswer:"),
        ({"user": "Q: {question}\nSay so:", "system": "Think."}, "Q: {question}\nSay so:"),
        ({"form": "chat"}, None),
    ],
)
def test_what_is_shown_in_training_is_the_few_shot_prompt(
    prompt: dict[str, str] | None, user: str | None, bucket: dict[str, Path], tmp_path: Path
) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(BASES / "llama")
    tokenizer.chat_template = TEMPLATE
    rows, summary = computed(show_gold, tmp_path, **bucket, shown=2, share=0.25, user=user, seed=3)
    assert summary == {"rows": 20, "with_solutions_before": 5}
    assert [row["id"] for row in rows] == list(QUESTIONS)
    longer = [row for row in rows if row["question"] != QUESTIONS[row["id"]]]
    assert len(longer) == 5
    encoder = encoder_of(tokenizer, prompt, shots="text", turns=2)
    pairs = [(text, f"It is {key}.\n#### {key[1:]}") for key, text in QUESTIONS.items()]
    for row in longer:
        own = QUESTIONS[row["id"]]
        few_shot = [encoder.prompt(own, [a, b]) for a in pairs for b in pairs if own not in (a[0], b[0])]
        assert encoder.prompt(row["question"]) in few_shot


def test_demonstrations_are_gold_and_follow_the_seed(bucket: dict[str, Path], tmp_path: Path) -> None:
    draws = [computed(demonstrate_gold, tmp_path, **bucket, shots=4, seed=seed)[0] for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]
    for row in draws[0]:
        assert row["question"] == QUESTIONS[row["id"]]
        assert row["response"] == f"It is {row['id']}.\n#### {row['id'][1:]}"


def test_too_few_questions_end_the_branch(bucket: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(StopBranch, match="21 demonstrations wanted, and there are 20 questions"):
        computed(demonstrate_gold, tmp_path, **bucket, shots=21, seed=0)
    with pytest.raises(StopBranch, match="20 questions before another one wanted, and there are 20"):
        computed(show_gold, tmp_path, **bucket, shown=20, share=1.0, seed=0)


def test_a_template_is_tried_with_as_many_turns_as_gold_demonstrations_make(tmp_path: Path) -> None:
    """What cannot hold turns is then refused before the first step."""
    base = shutil.copytree(BASES / "llama", tmp_path / "base")
    (base / "chat_template.jinja").write_text(TEMPLATE)
    task = {"name": "mini", "options": {"pretrain": 8, "dev": 4, "levels": [1]}}
    fields = {"model": str(base), "task": task, "evaluation": {"splits": ("dev",)}}
    for prompt, turns in (({"form": "chat"}, True), ({}, False)):
        (use,) = base_uses(build_graph(experiment("warm_up", **fields, prompt=prompt), "cpu"))
        assert use.turns is turns
