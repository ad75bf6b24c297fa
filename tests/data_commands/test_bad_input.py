"""Input that a command must refuse: one line that says file, line and what is wrong, and nothing written."""

import gzip
import os
from pathlib import Path
from typing import Any

import pytest

GOOD = b'{"id": 1, "response": "#### 1"}\n'

BAD_SECOND_LINES = {
    b'{"id": 2, "response": ': "not JSON",
    b"[1, 2]": "each line must be a JSON object, not a list",
    b'"text"': "each line must be a JSON object, not text",
    b"null": "each line must be a JSON object, not null",
    b'{"id": 2, "respose": "x"}': "no field 'response' (did you mean 'respose'?)",
    b'{"id": 2, "text": "x"}': "no field 'response'; it holds: id, text",
    b'{"ID": 2, "response": "x"}': "no field 'id' (did you mean 'ID'?)",
    b'{"id": 2, "response": null}': "'response' must be text, not null",
    b'{"id": 2, "response": 5}': "'response' must be text, not a number",
    b'{"id": true, "response": "x"}': "'id' must be an integer or text, not true or false",
    b'{"id": 1.5, "response": "x"}': "'id' must be an integer or text, not a number",
    b'{"id": "", "response": "x"}': "'id' must be an integer or text, not empty text",
    b'{"id": 1, "response": "x"}': "the id '1' stands already in line 1",
    b'{"id": "1", "response": "x"}': "the id '1' stands already in line 1",
    b'{"id": 2, "response": "caf\xe9"}': "not UTF-8 (byte 27 of the line)",
    b'{"id": 2, "response": "x", "p": NaN}': "NaN is no JSON number",
    b'{"id": 2, "response": "x", "p": -Infinity}': "-Infinity is no JSON number",
    b'{"id": ' + b"9" * 5000 + b"}": "not JSON (Exceeds the limit",
    b"[" * 200_000: "nested too deeply",
    b'{"id": ' * 200_000: "nested too deeply",
}


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("line", BAD_SECOND_LINES, ids=lambda line: str(line[:30]))
def test_a_bad_line(bench: Any, line: bytes, suffix: str) -> None:
    responses = bench.raw(f"r.jsonl{suffix}", GOOD + line + b"\n")
    gold = bench.file("g.jsonl", [{"id": 1, "gold": "1"}, {"id": 2, "gold": "1"}])
    out = bench.folder / "out.jsonl"
    message = bench.refused("grade", "--responses", responses, "--gold", gold, "--out", out)
    assert message.startswith(f"{responses}, line 2: ")
    assert BAD_SECOND_LINES[line] in message


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"id": 1}, "no field 'answer'"),
        ({"id": 1, "gold": " "}, "no final answer in 'gold' that rule 'gsm8k' can read"),
        ({"id": 1, "answer": "$"}, "no final answer in 'answer' that rule 'gsm8k' can read"),
        ({"id": 1, "gold": None}, "no field 'solution'"),
        (
            {"id": 1, "gold": "5", "answer": "6"},
            "line 1: 'answer' says '6' and 'gold' says '5'; they are two names of one field: keep the right one",
        ),
        ({"id": 1, "gold": [5]}, "'gold' must be text, not a list"),
        ({"id": 1, "gold": True}, "'gold' must be text, not true or false"),
        ({"id": 1, "solution": "no marker"}, "no final answer in 'solution' under task gsm8k"),
        ({"id": 1, "answers": "5"}, "did you mean 'answers'?"),
    ],
)
def test_bad_gold(bench: Any, row: dict[str, Any], expected: str) -> None:
    responses, gold = bench.raw("r.jsonl", GOOD), bench.file("g.jsonl", [row])
    assert expected in bench.refused("grade", "--responses", responses, "--gold", gold)


COMMANDS = {
    "grade": ("--responses", "--gold"),
    "agree": ("--weak", "--icl"),
    "pairs": ("--weak", "--samples"),
    "leaks": ("--train", "--eval"),
}


def command(name: str, one: Path, other: Path, out: Path) -> list[object]:
    options = COMMANDS[name]
    return [name, options[0], one, options[1], other, "--out", out]


CUT = b"".join(b'{"id": %d, "response": "", "gold": "1", "question": "?"}\n' % i for i in range(1000))


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "No such file or directory"),
        (b"", "holds no rows"),
        (b"\n  \n", "holds no rows"),
        (gzip.compress(b""), "holds no rows"),
        (gzip.compress(CUT)[:-20], "the gzip data is damaged or cut off"),
        (b"\x1f\x8b\x08\x00" + b"\x00" * 30, "the gzip data is damaged or cut off"),
        ("\ufeff{}".encode("utf-16"), "not UTF-8"),
    ],
    ids=["missing", "empty", "blank", "empty gzip", "cut gzip", "damaged gzip", "UTF-16"],
)
def test_a_bad_file(bench: Any, name: str, content: bytes | None, expected: str) -> None:
    good = bench.file("good.jsonl", [{"id": 1, "response": "#### 1", "gold": "1", "question": "?"}])
    bad = bench.folder / "bad.jsonl"
    if content is not None:
        bad.write_bytes(content)
    message = bench.refused(*command(name, good, bad, bench.folder / "out"))
    assert message.startswith(str(bad))
    assert expected in message
    assert expected in bench.refused(*command(name, bad, good, bench.folder / "out"))


@pytest.mark.parametrize("name", ["grade", "agree", "pairs"])
def test_ids_that_do_not_match(bench: Any, name: str) -> None:
    one, other = (bench.file(f"{i}.jsonl", [{"id": i, "response": "#### 1", "gold": "1"}]) for i in "ab")
    message = bench.refused(*command(name, one, other, bench.folder / "out"))
    assert message.startswith("no id of ")
    assert "rows are joined by 'id'" in message


@pytest.mark.parametrize("name", COMMANDS)
def test_a_place_that_cannot_be_written(bench: Any, name: str) -> None:
    row = {"id": 1, "response": "#### 1", "gold": "1", "question": "?"}
    one, other = bench.file("a.jsonl", [row]), bench.file("b.jsonl", [row])
    before = one.read_bytes()
    refused = [
        bench.folder / "no" / "folder" / "out",
        bench.folder / ("x" * 300),
        one if name != "agree" else one / "out",
    ]
    if name != "agree":  # its place is a folder
        refused += [bench.folder, Path(os.devnull)]
    for out in refused:
        bench.refused(*command(name, one, other, out))
    assert one.read_bytes() == before


def test_a_folder_instead_of_a_file(bench: Any) -> None:
    good = bench.raw("r.jsonl", GOOD)
    message = bench.refused("grade", "--responses", bench.folder, "--gold", good)
    assert message  # the gold file is read first, and has no gold


def test_a_failed_run_leaves_the_old_result(bench: Any, hashes: Any) -> None:
    weak, icl = bench.file("w.jsonl", hashes(a=1)), bench.file("i.jsonl", hashes(a=1))
    arguments = ["agree", "--weak", weak, "--icl", icl, "--out", bench.folder / "out"]
    bench.run(*arguments)
    before = bench.rows("out/kept.jsonl")
    bench.raw("i.jsonl", b"{")
    bench.refused(*arguments)
    assert bench.rows("out/kept.jsonl") == before
