"""The reader and the writer of JSON lines."""

import gzip
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from w2s_core import jsonl
from w2s_core.errors import UserError
from w2s_core.jsonl import RowWriter, read_jsonl

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
ROWS = st.lists(st.dictionaries(st.text(), VALUES, max_size=4), min_size=1, max_size=5)


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
@given(rows=ROWS)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, name: str, rows: list[Any]
) -> None:
    path = tmp_path_factory.mktemp("rows") / name
    with RowWriter(path) as writer:
        for row in rows:
            writer.write(row)
    assert [row.fields for row in read_jsonl(path)] == rows
    assert list(path.parent.iterdir()) == [path]
    assert (path.read_bytes()[:2] == b"\x1f\x8b") == name.endswith(".gz")


def test_gzip_is_known_by_its_content(tmp_path: Path) -> None:
    for name, content in (("packed.jsonl", gzip.compress(b'{"id": 1}\n')), ("plain.gz", b'{"id": 1}\n')):
        (tmp_path / name).write_bytes(content)
        assert [row.id for row in read_jsonl(tmp_path / name)] == ["1"]


def test_marks_blank_lines_and_windows_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"id": 1}\r\n\r\n   \n{"id": 2}')
    assert [(row.id, row.line) for row in read_jsonl(path)] == [("1", 1), ("2", 4)]


def test_half_a_surrogate_pair_survives(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with RowWriter(path) as writer:
        writer.write({"id": "\ud83d"})
    assert [row.fields["id"] for row in read_jsonl(path)] == ["\ud83d"]


def test_a_line_that_is_too_long_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"id": 1}\n{"id": "' + b"x" * 200)
    with pytest.raises(UserError, match=r"rows.jsonl, line 2: longer than 100 bytes"):
        list(read_jsonl(path, max_line=100))


def test_a_packed_bomb_does_not_fill_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.gz"
    with gzip.open(path, "wb", compresslevel=9) as stream:
        for _ in range(100):
            stream.write(b"[" * 1024**2)
    code = (
        "import sys, pathlib; from w2s_core.jsonl import read_jsonl; from w2s_core.errors import UserError\n"
        "try: list(read_jsonl(pathlib.Path(sys.argv[1])))\n"
        "except UserError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, path], check=False, capture_output=True, text=True, timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (100 * 1024**2,) * 2),
    )  # fmt: skip
    assert "line 1: longer than" in done.stdout, done.stderr[-500:]


def test_rows_stream(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"id": 1}\nnonsense\n')
    rows = read_jsonl(path)
    assert next(rows).id == "1"
    with pytest.raises(UserError, match="line 2: not JSON"):
        next(rows)


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
def test_an_error_while_writing_leaves_the_old_file_alone(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("old")

    def write_and_stop() -> None:
        with RowWriter(path) as writer:
            writer.write({"id": 1})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_and_stop()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
def test_a_full_disk_is_one_line(tmp_path: Path, name: str) -> None:
    """A limit on file sizes stands for the full disk: the write fails in the same way."""
    code = (
        "import sys, os, pathlib, signal; from w2s_core.jsonl import RowWriter; from w2s_core.errors import UserError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "try:\n"
        "    with RowWriter(pathlib.Path(sys.argv[1])) as writer:\n"
        "        for i in range(3000): writer.write({'id': i, 'text': os.urandom(50).hex()})\n"
        "except UserError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / name], check=False, capture_output=True, text=True, timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000)),
    )  # fmt: skip
    assert done.stdout.strip() == f"{tmp_path / name}: File too large", done.stderr[-800:]
    assert list(tmp_path.iterdir()) == []


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    written = []
    for name in ("a.gz", "b.gz"):
        with RowWriter(tmp_path / name) as writer:
            writer.write({"id": 1, "text": "é"})
        written.append((tmp_path / name).read_bytes())
    assert written[0] == written[1]
    assert json.loads(gzip.decompress(written[0])) == {"id": 1, "text": "é"}


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.jsonl").write_text("old")
    (tmp_path / "link.jsonl").symlink_to("real.jsonl")
    with RowWriter(tmp_path / "link.jsonl") as writer:
        writer.write({"id": 1})
    assert (tmp_path / "link.jsonl").is_symlink()
    assert (tmp_path / "real.jsonl").read_text() == '{"id": 1}\n'


def within_seconds(path: Path) -> str:
    """The one line with which reading is refused, at once."""
    before = time.process_time()
    with pytest.raises(UserError) as caught:
        list(read_jsonl(path))
    assert time.process_time() - before < 5
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("blank", [b"\n", b" \n"])
def test_a_file_of_blank_lines_is_left_early(tmp_path: Path, packed: bool, blank: bytes) -> None:
    path = tmp_path / "rows.jsonl"
    content = b'{"id": 1}\n' + blank * 3_000_000
    path.write_bytes(gzip.compress(content, 1) if packed else content)
    assert (
        within_seconds(path) == f"{path}, line 1000002: 1,000,000 blank lines before it; is this JSON lines?"
    )


def test_gzip_that_grows_a_thousand_times_is_left_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress((b'{"id": 1, "text": "' + b" " * 10**6 + b'"}\n') * 8))
    assert len(list(read_jsonl(path))) == 8
    monkeypatch.setattr(jsonl, "RATIO_FROM", 2 * 10**6)
    assert f"{path}, line 2: gzip data that grow to more than 200 times" in within_seconds(path)


def test_plain_rows_and_ordinary_gzip_have_no_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "RATIO_FROM", 1000)
    text = "".join(f'{{"id": {number}, "text": "{number**9}"}}\n' for number in range(3000)).encode()
    for content in (text, gzip.compress(text)):
        (tmp_path / "rows").write_bytes(content)
        assert len(list(read_jsonl(tmp_path / "rows"))) == 3000


def test_a_row_of_very_many_keys(tmp_path: Path) -> None:
    keys = ",".join(f'"k{number}":1' for number in range(300_000))
    path = tmp_path / "rows.jsonl"
    path.write_text(f'{{{keys},"k299999":2}}\n')
    assert "the key 'k299999' stands twice" in within_seconds(path)
    path.write_text(f"{{{keys}}}\n")
    (row,) = read_jsonl(path)
    before = time.process_time()
    with pytest.raises(UserError, match="no field 'id'"):
        row.get("id")
    assert time.process_time() - before < 2


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir])
def test_what_is_no_regular_file_is_not_read(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "rows.jsonl")
    kind = "a folder" if make is Path.mkdir else "a pipe or a device"
    assert (
        within_seconds(tmp_path / "rows.jsonl")
        == f"{tmp_path / 'rows.jsonl'}: {kind}, where a regular file is needed"
    )
