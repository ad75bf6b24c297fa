"""`data pairs`: the contrast rule on files."""

from typing import Any

import pytest


def samples(name: str, *answers: object) -> dict[str, Any]:
    texts = [f"Sample {i}.\n#### {a}" if a is not None else "Hm." for i, a in enumerate(answers)]
    return {"id": name, "responses": texts}


DRAWN = [
    samples("agree", 5, 5, 5, 6, 7),
    samples("easy", 5, 5, 5, 5, 5),
    samples("overrule", 6, 6, 6, 6, 7),
    samples("unsure", 6, 6, 6, 7, 8),
    samples("scattered", 1, 2, 3, 4, 5),
    samples("silent", None, None, None, None, 5),
    samples("stray", 1),
]
WEAK = {"agree": 5, "easy": 5, "overrule": None, "unsure": 5, "scattered": 1, "silent": 5, "unsampled": 1}


def test_every_outcome_is_counted(bench: Any, hashes: Any) -> None:
    weak, drawn = bench.file("w.jsonl", hashes(**WEAK)), bench.file("s.jsonl", DRAWN)
    summary = bench.run("pairs", "--weak", weak, "--samples", drawn, "--out", bench.folder / "p.jsonl.gz")
    expected = {
        "questions": 6, "paired": 2, "majority_empty": 1, "low_confidence": 1, "no_contrast": 1,
        "overruled_too_weakly": 1, "pairs": 2, "weak_chosen": 1, "weak_rejected": 1,
        "missing_samples": 1, "missing_weak": 1,
    }  # fmt: skip
    assert {name: summary[name] for name in expected} == expected
    rows = {row["id"]: row for row in bench.rows("p.jsonl.gz")}
    assert rows["agree"]["chosen"] == "So agree.\n#### 5"
    assert rows["agree"]["rejected_answer"] in ("6", "7")
    assert rows["agree"]["confidence"] == pytest.approx(0.6)
    assert rows["overrule"]["rejected"] == "So."
    assert (rows["overrule"]["chosen_answer"], rows["overrule"]["rejected_answer"]) == ("6", None)


def test_several_rows_an_id_are_a_list(bench: Any, hashes: Any) -> None:
    weak = bench.file("w.jsonl", hashes(**WEAK))
    flat = [
        {"id": row["id"], "response": text}
        for i in range(5)
        for row in DRAWN
        for text in row["responses"][i : i + 1]
    ]
    for name, rows in (("list", DRAWN), ("flat", flat)):
        drawn = bench.file(f"{name}.jsonl", rows)
        bench.run("pairs", "--weak", weak, "--samples", drawn, "--out", bench.folder / f"{name}.out")
    assert bench.rows("list.out") == bench.rows("flat.out")


def test_the_seed_and_the_id_alone_decide(bench: Any, hashes: Any) -> None:
    weak = {f"q{i}": 1 for i in range(30)}
    drawn = [samples(name, 1, 1, 1, 1, 1, 1, 2, 3, 4, 5) for name in weak]

    def pairs(seed: int, rows: list[dict[str, Any]]) -> dict[str, str]:
        files = bench.file("w.jsonl", rows), bench.file("s.jsonl", drawn)
        bench.run(
            "pairs", "--weak", files[0], "--samples", files[1], "--out", bench.folder / "p", "--seed", seed
        )
        return {row["id"]: row["rejected"] for row in bench.rows("p")}

    first = pairs(0, hashes(**weak))
    assert pairs(0, hashes(**weak)[::-1]) == first
    assert pairs(1, hashes(**weak)) != first
    assert len(set(first.values())) > 1


@pytest.mark.parametrize(("options", "pairs"), [((), 1), (("--per-question", 3), 2), (("--keep", 0.7), 0)])
def test_options(bench: Any, hashes: Any, options: tuple[object, ...], pairs: int) -> None:
    weak, drawn = bench.file("w.jsonl", hashes(agree=5)), bench.file("s.jsonl", DRAWN)
    summary = bench.run("pairs", "--weak", weak, "--samples", drawn, "--out", bench.folder / "p", *options)
    assert summary["pairs"] == len(bench.rows("p")) == pairs


@pytest.mark.parametrize(("per_question", "pairs"), [(1, 1), (2, 2), (3, 2), (9, 2)])
def test_samples_with_one_text_are_drawn_once(bench: Any, hashes: Any, per_question: int, pairs: int) -> None:
    repeating = {"id": "a", "responses": ["#### 5"] * 6 + ["#### 6"] * 3 + ["#### 7"]}
    weak, drawn = bench.file("w.jsonl", hashes(a=5)), bench.file("s.jsonl", [repeating])
    command = ["pairs", "--weak", weak, "--samples", drawn, "--out", bench.folder / "p"]
    summary = bench.run(*command, "--per-question", per_question)
    rejected = [row["rejected"] for row in bench.rows("p")]
    assert summary["pairs"] == len(set(rejected)) == len(rejected) == pairs


@pytest.mark.parametrize("option", ["--keep", "--flip"])
@pytest.mark.parametrize("value", ["1.01", "-0.1", "nan", "inf"])
def test_a_threshold_outside_0_to_1(bench: Any, option: str, value: str) -> None:
    message = bench.refused(
        "pairs", "--weak", "w", "--samples", "s", "--out", bench.folder / "p", option, value
    )
    assert message == f"{option} must lie in [0, 1], not {float(value)}"


@pytest.mark.parametrize("bad", [[], "text", [1], None])
def test_a_bad_list_of_responses(bench: Any, hashes: Any, bad: object) -> None:
    weak, drawn = bench.file("w.jsonl", hashes(a=5)), bench.file("s.jsonl", [{"id": "a", "responses": bad}])
    message = bench.refused("pairs", "--weak", weak, "--samples", drawn, "--out", bench.folder / "p")
    assert "s.jsonl, line 1: 'responses' must be a list" in message
