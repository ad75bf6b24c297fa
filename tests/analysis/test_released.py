"""The selection table on the authors' released outputs, against the figures measured on them.

Read from the folder W2S_REFERENCE, by default shared/reference beside the repository. Answers are extracted and graded
by our own rule, so the figures are those of numeric comparison. `figures.json` was measured by another implementation.
"""

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.analysis.synthetic import TinyStore
from w2s_analysis.reading.frame import load_frames
from w2s_analysis.reading.groups import Group, make_groups
from w2s_analysis.weak_to_strong.selection import label_table
from w2s_analysis.weak_to_strong.stage_two import pair_table
from w2s_analysis.writing.table import Cell, Table
from w2s_core.answers.extract import extract
from w2s_core.answers.grading import Grader

REFERENCE = Path(
    os.environ.get("W2S_REFERENCE") or Path(__file__).resolve().parents[3] / "shared" / "reference"
)
pytestmark = pytest.mark.skipif(
    not (REFERENCE / "figures.json").is_file(), reason="the released outputs are not here (set W2S_REFERENCE)"
)
WEAK_MODELS = ("llama2_7b", "mistral_7b")
TRAIN_2 = 7000


def rows_of(name: str) -> list[dict[str, Any]]:
    with gzip.open(REFERENCE / f"{name}.jsonl.gz", "rt", encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


def graded(rows: list[dict[str, Any]], side: str, gold: dict[str, str]) -> list[dict[str, Any]]:
    """Grades as the step `grade` writes them."""
    entries = []
    with Grader("gsm8k") as grader:
        for row in rows:
            answer, name = extract(row[side], "gsm8k"), str(row["id"])
            verdict = str(grader.grade([(answer, gold[name])])[0])
            entries.append(
                {"id": name, "level": None, "template": None, "answers": [answer], "verdicts": [verdict]}
            )
    return [row | {"tokens": [], "finish": []} for row in entries]


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> TinyStore:
    """A store with one run a weak model, made of the released answers, filtered sets and pairs."""
    store = TinyStore(tmp_path_factory.mktemp("released"))
    gold = {str(row["id"]): row["gold"] for row in rows_of("gsm8k_train_2")}
    for model in WEAK_MODELS:
        sets = {"weak_0": (f"gsm8k_weak_{model}", "response")}
        sets |= {f"agreed_{i}": (f"gsm8k_filter_{model}_iter{i}", "icl") for i in (1, 2)}
        sets |= {f"pairs_{side}": (f"gsm8k_pairs_{model}", side) for side in ("chosen", "rejected")}
        targets = {
            f"labels/{name}": store.put(
                f"{model}-{name}", "grades.parquet", graded(rows_of(file), side, gold)
            )
            for name, (file, side) in sets.items()
        }
        targets["pairs"] = store.put(f"{model}-pairs", "rows.parquet", pairs_of(model))
        store.refs.records[model] = {
            "weak": model,
            "strong": "llama2_70b",
            "task": "gsm8k",
            "targets": targets,
            "questions": {"train_2": TRAIN_2},
        }
    return store


def pairs_of(model: str) -> list[dict[str, Any]]:
    """The released pairs; the weak response is on the side whose text the weak model gave."""
    weak = {row["id"]: row["response"] for row in rows_of(f"gsm8k_weak_{model}")}
    rows = rows_of(f"gsm8k_pairs_{model}")
    return [
        row
        | {
            "id": str(row["id"]),
            "kind": f"weak_{'chosen' if weak[row['id']] == row['chosen'] else 'rejected'}",
        }
        for row in rows
    ]


@pytest.fixture(scope="module")
def figures() -> dict[str, Any]:
    reference: dict[str, Any] = json.loads((REFERENCE / "figures.json").read_text())
    return reference


def by_name(table: Table) -> dict[str, dict[str, Cell]]:
    return {row[table.columns[0]].text: row for row in table.rows}


def group_of(store: TinyStore, model: str) -> Group:
    return make_groups(load_frames(store, [model]))[0]


@pytest.mark.slow
@pytest.mark.parametrize("model", WEAK_MODELS)
def test_selection_table_of_the_released_sets(
    released: TinyStore, figures: dict[str, Any], model: str
) -> None:
    rows, known = by_name(label_table(group_of(released, model))), figures[f"gsm8k_{model}"]
    assert rows["D_weak"]["rows"].value == known["weak"]["n"]
    assert rows["D_weak"]["precision"].value == pytest.approx(100 * known["weak"]["share_numeric"], abs=0.006)
    for i in (1, 2):
        row, reference = rows[f"agreed {i}"], known[f"iter{i}"]
        assert row["rows"].value == reference["rows"]
        assert row["coverage"].value == pytest.approx(100 * reference["coverage"], abs=0.006)
        assert row["precision"].value == pytest.approx(100 * reference["icl"]["share_numeric"], abs=0.006)
        assert row["precision"].low < row["precision"].value < row["precision"].high


@pytest.mark.slow
@pytest.mark.parametrize("model", WEAK_MODELS)
def test_the_dropped_rest_is_what_is_left_of_the_weak_answers(
    released: TinyStore, figures: dict[str, Any], model: str
) -> None:
    """Iteration 1 keeps the weak model's own texts, so right kept and right dropped add up to all right."""
    rows, known = by_name(label_table(group_of(released, model))), figures[f"gsm8k_{model}"]
    dropped = rows["dropped 1"]
    right = known["weak"]["right_numeric"] - known["iter1"]["weak"]["right_numeric"]
    assert dropped["rows"].value == TRAIN_2 - known["iter1"]["rows"]
    assert dropped["precision"].value == pytest.approx(100 * right / dropped["rows"].value, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("model", WEAK_MODELS)
def test_pair_table_of_the_released_pairs(released: TinyStore, figures: dict[str, Any], model: str) -> None:
    rows, known = by_name(pair_table(group_of(released, model))), figures[f"gsm8k_{model}"]["pairs"]
    for kind, name in (("weak_chosen", "weak side chosen"), ("weak_rejected", "weak side rejected")):
        assert rows[name]["number"].value == known[kind]
        for side in ("chosen", "rejected"):
            share = known[f"{kind}_detail"][side]["share_numeric"]
            assert rows[name][f"{side} right, %"].value == pytest.approx(100 * share, abs=0.006)
    assert rows["all"]["number"].value == known["rows"]
