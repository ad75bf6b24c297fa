"""`data leaks`: what stands twice, within a file and across files."""

from typing import Any


def question(name: object, text: str) -> dict[str, Any]:
    return {"id": name, "question": text}


def test_within_and_across(bench: Any) -> None:
    test = bench.file("test.jsonl", [question(0, "How many eggs?"), question(1, "And hens?")])
    one = bench.file(
        "one.jsonl.gz", [question(0, "how many  eggs"), question(1, "A"), question(2, "B"), question(3, "a.")]
    )
    two = bench.file(
        "two.jsonl", [question(0, "B"), question(1, "B"), question(2, "And hens?"), question(3, "C")]
    )
    summary = bench.run("leaks", "--train", one, two, "--eval", test, "--out", bench.folder / "out.jsonl")
    assert {name: summary[name] for name in ("rows", "new", "exact", "normalised_only")} == {
        "rows": 10, "new": 5, "exact": 3, "normalised_only": 2,
    }  # fmt: skip
    assert {entry["file"]: (entry["exact"], entry["normalised"]) for entry in summary["within"]} == {
        str(test): (0, 0), str(one): (0, 1), str(two): (1, 1),
    }  # fmt: skip
    across = {(e["rows_of"], e["standing_in"]): (e["exact"], e["normalised"]) for e in summary["across"]}
    assert across == {
        (str(one), str(test)): (0, 1), (str(test), str(one)): (0, 1),
        (str(two), str(test)): (1, 1), (str(test), str(two)): (1, 1),
        (str(two), str(one)): (2, 2), (str(one), str(two)): (1, 1),
    }  # fmt: skip
    found = bench.rows("out.jsonl")
    assert [(row["file"], row["id"], row["kind"]) for row in found] == [
        (str(one), 0, "normalised"), (str(one), 3, "normalised"),
        (str(two), 0, "exact"), (str(two), 1, "exact"), (str(two), 2, "exact"),
    ]  # fmt: skip
    assert (found[2]["first_file"], found[2]["first_id"]) == (str(one), "2")


def test_both_ways_of_giving_files(bench: Any) -> None:
    test, one, two = (bench.file(f"{name}.jsonl", [question(0, name)]) for name in ("test", "one", "two"))
    assert bench.run("leaks", "--train", one, two, "--eval", test) == bench.run(
        "leaks", "--eval", test, "--train", one, "--train", two
    )


def test_a_file_given_twice(bench: Any) -> None:
    one = bench.file("one.jsonl", [question(0, "A")])
    assert "given 2 times" in bench.refused("leaks", "--train", one, "--eval", one)
