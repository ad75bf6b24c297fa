"""What fuzzing holds: each reader gives a value or its documented error, within its time, whatever bytes it gets.

A harness is a function of bytes that raises where that is not so, and seeds for it, which are made from our own tables.
`python -m tests.fuzz.harnesses NAME FILE` checks the bytes of a file, a finding of `make fuzz` say.
"""

import atexit
import gzip
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from tests.answers.triples import triples
from w2s_core.answers import comparing, extract, released
from w2s_core.answers.characters import clean
from w2s_core.answers.limits import MAX_ANSWER
from w2s_core.answers.reading import canonical
from w2s_core.doctor.memory import read_config, read_weights
from w2s_core.engine import disk
from w2s_core.engine.canonical import digest
from w2s_core.engine.store import MANIFEST, CorruptObjectError, Store
from w2s_core.errors import UserError
from w2s_core.experiment import Experiment
from w2s_core.jsonl import RowWriter, read_jsonl
from w2s_core.models.base_files import base_ref
from w2s_core.strict_yaml import read_yaml, validate

LIMIT = 5.0
"""Processor seconds for an input of a few kilobytes, under a fuzzer that makes code several times slower."""
PART = b"\xff\n"
"""Parts one input into several: no UTF-8 text holds the byte."""
KEY = "0" * 64


def text_of(data: bytes) -> str:
    """Any bytes as text; those that are no UTF-8 become half surrogates, which a model's output can hold too."""
    return data.decode("utf-8", "surrogateescape")


def parts_of(data: bytes, count: int) -> list[bytes]:
    parts = data.split(PART, count - 1)
    return parts + [b""] * (count - len(parts))


def extraction(data: bytes) -> None:
    """An answer is short and says something; the same text has the same answer, and an answer is its own."""
    text = text_of(data)
    clean(text)
    for rule in extract.RULES:
        answer = extract.extract(text, rule)
        assert answer == extract.extract(text, rule)
        assert answer is None or 0 < len(answer) <= MAX_ANSWER
        released_answer = released.extract(text, rule)
        assert released_answer is None or 0 < len(released_answer) <= MAX_ANSWER
        extract.reference_answer(text, rule)
        if rule == "choice" and answer is not None:
            assert extract.extract(answer, rule) == answer
        if rule == "gsm8k" and answer is not None:
            assert extract.extract(f"#### {answer}", rule) == answer


def forms(data: bytes) -> None:
    """Equality of forms is reflexive and symmetric, whatever algebra says of the formulas in them."""
    first, second = map(text_of, parts_of(data, 2))
    for rule in extract.RULES:
        left, right = canonical(first, rule), canonical(second, rule)
        for text in (first, second):
            released.normalise(text, rule)
        if left is None or right is None:
            continue
        for decide in (lambda _: None, lambda pair: len(pair[0]) % 2 == 0):
            assert comparing.same(left, left, decide) is True is comparing.alike(left, left, decide)
            assert comparing.same(left, right, decide) == comparing.same(right, left, decide)
            assert comparing.alike(left, right, decide) == comparing.alike(right, left, decide)


def jsonl(data: bytes) -> None:
    """Rows are read or refused; those that are read are the same after they were written, plain and packed."""
    path = folder() / "rows.jsonl"
    path.write_bytes(data)
    rows = []
    with suppress(UserError):
        rows = [row.fields for row in read_jsonl(path)]
    if not rows:
        return
    for name in ("again.jsonl", "again.jsonl.gz"):
        with RowWriter(folder() / name) as writer:
            for row in rows:
                writer.write(row)
        assert [row.fields for row in read_jsonl(folder() / name)] == rows


def yaml(data: bytes) -> None:
    path = folder() / "experiment.yaml"
    path.write_bytes(data)
    with suppress(UserError):
        tree, lines = read_yaml(path, "an experiment")
        validate(Experiment, tree, path, lines)


BASE_FILES = (
    "config.json",
    "tokenizer_config.json",
    "generation_config.json",
    "model.safetensors",
    "model.safetensors.index.json",
)


def base(data: bytes) -> None:
    """The files of a base model: its name, and what the headers of its weights say."""
    place = folder() / "base"
    place.mkdir(exist_ok=True)
    (place / "tokenizer.json").write_bytes(b"{}")
    for name, content in zip(BASE_FILES, parts_of(data, len(BASE_FILES)), strict=True):
        if content:
            (place / name).write_bytes(content)
        else:
            (place / name).unlink(missing_ok=True)
    for code in (False, True):
        with suppress(UserError):
            base_ref(place, code=code)
    with suppress(UserError):
        read_weights(place, read_config(place))


def records(data: bytes) -> None:
    """A store's files: an object, a record, lines and a kept text, each as bytes of any kind."""
    store = the_store()
    result = store.folder(KEY)
    result.mkdir(parents=True, exist_ok=True)
    (result / MANIFEST).write_bytes(data)
    (store.root / "refs" / "run.json").write_bytes(data)
    (store.root / "history.jsonl").write_bytes(data)
    assert store.peek(KEY) is None  # nothing hashes to zeros
    assert store.check(KEY)
    store.read_spec(KEY)
    with suppress(CorruptObjectError):
        store.manifest(KEY)
    for path in (store.root / "quarantine").iterdir():
        shutil.rmtree(path)
    with suppress(UserError):
        store.refs.read("run")
    list(store.refs.scan())
    for _ in disk.json_lines(store.root / "history.jsonl"):
        pass
    with suppress(ValueError):
        digest(disk.json_object(data))
    assert disk.read_kept(store.root / "history.jsonl", "title ") is None


@cache
def folder() -> Path:
    """A folder of this process's own."""
    path = Path(tempfile.mkdtemp(prefix="w2s-fuzz-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


@cache
def the_store() -> Store:
    return Store(folder() / "store")


# Seeds -------------------------------------------------------------------------------------------------------------

RESPONSES = (
    "2+3=5\n#### {}",
    "So the answer follows. The answer is {}.\nQuestion: And now?",
    r"Hence \boxed{{{}}}, and \boxed{{{}}}.",
    "Answer: ({})<|im_end|>\nUser: more",
)


def answer_pairs() -> Iterator[bytes]:
    for triple in islice(triples(), 0, None, 3):
        yield PART.join(text.encode() for text in (triple.answer, triple.gold))


def responses() -> Iterator[bytes]:
    for place, triple in enumerate(islice(triples(), 0, None, 5)):
        yield RESPONSES[place % len(RESPONSES)].format(triple.answer, triple.gold).encode()


def rows() -> Iterator[bytes]:
    lines = [
        json.dumps({"id": place, "answer": triple.answer, "value": place / 7, "more": [None, {"a": True}]})
        for place, triple in enumerate(islice(triples(), 12))
    ]
    yield from (f"{line}\n".encode() for line in lines)
    yield "\n\n".join(lines).encode()
    yield b"\xef\xbb\xbf" + "\r\n".join(lines).encode()
    yield gzip.compress("\n".join(lines).encode(), mtime=0)
    yield b'{"a": 1, "a": NaN}'


def configs() -> Iterator[bytes]:
    root = Path(__file__).resolve().parents[2]
    yield from (path.read_bytes() for path in sorted((root / "experiments").glob("*/*.yaml")))
    yield b"a: &b [1e-3, 2020-01-01, 0x1F, 1:30, !!binary aGk=]\nc: *b\n<<: {d: ~}"
    yield b"? [a, b]\n: |\n  text\n--- {}\n"


def base_models() -> Iterator[bytes]:
    header = json.dumps(
        {"__metadata__": {"format": "pt"}, "w": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}
    ).encode()
    weights = len(header).to_bytes(8, "little") + header + bytes(16)
    config = b'{"model_type": "llama", "num_hidden_layers": 2, "auto_map": {"AutoModel": "m.py--C"}}'
    index = b'{"weight_map": {"w": "model.safetensors"}}'
    tokenizer = b'{"tokenizer_file": "tokenizer.json", "fast_tokenizer_files": ["tokenizer.4.json"]}'
    yield PART.join([config, tokenizer, b'{"eos_token_id": [1, 2]}', weights, index])
    yield PART.join([config, b"", b"", weights, b""])
    yield PART.join([b"[]", b"{", b"null", b"\x00" * 7, b"{}"])


def store_files() -> Iterator[bytes]:
    manifest = {"key": KEY, "spec": {"step": "sft", "inputs": [KEY]}, "files": {"a": {"bytes": 1}}}
    yield json.dumps({**manifest, "digest": digest(manifest)}).encode()
    yield json.dumps(
        {"recipe": "r", "targets": {"weak": KEY}, "started": 1.5, "bases": {"weak": "w"}}
    ).encode()
    yield b'{"step": "sft", "shape": "x", "seconds": 1, "bytes": 2}\n{"step": 1}\n\xff'
    yield b"[" * 50 + b"]" * 50


class Harness(NamedTuple):
    """A property of bytes, and inputs to begin with."""

    check: Callable[[bytes], None]
    seeds: Callable[[], Iterator[bytes]]

    def __call__(self, data: bytes) -> None:
        """Check the property, and the time that it takes."""
        start = time.process_time()
        self.check(data)
        spent = time.process_time() - start
        assert spent < LIMIT, f"{spent:.1f} processor seconds for {len(data)} bytes"


HARNESSES = {
    "extraction": Harness(extraction, responses),
    "forms": Harness(forms, answer_pairs),
    "jsonl": Harness(jsonl, rows),
    "yaml": Harness(yaml, configs),
    "base": Harness(base, base_models),
    "records": Harness(records, store_files),
}


if __name__ == "__main__":
    HARNESSES[sys.argv[1]](Path(sys.argv[2]).read_bytes())
