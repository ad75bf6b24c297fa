"""Tasks of the reasoning-gym package: a hundred generated data sets, most with a scorer of their own.

    task: {name: reasoning_gym, options: {dataset: knights_knaves, config: {n_people: 3}, train_1: 500}}

Item i of a data set is drawn from its seed + i, so data sets of neighbouring seeds share almost all items. All splits
are therefore slices of one data set: its distinct questions in order, the first for test, then dev, train_1, train_2.
"""

import contextlib
import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from w2s_core.answers.extract import check_rule, extract, reference_answer
from w2s_core.answers.limits import MAX_ANSWER
from w2s_core.answers.pool import environment
from w2s_core.answers.reading import SCORED
from w2s_core.engine.digest_cache import cache_folder
from w2s_core.engine.disk import read_kept, write_kept
from w2s_core.errors import UserError
from w2s_core.tasks import Problem, unknown
from w2s_core.tasks.generated import MAX_SIZE, whole_option
from w2s_core.tasks.jsonl import ANSWERS, MARKERS, check_options
from w2s_core.versions import reasoning_gym_version

TASK = "reasoning_gym"
DEFAULT_SIZES = {"test": 500, "dev": 500, "train_1": 1000, "train_2": 1000}
"""In the order in which they are cut out: more training questions leave the evaluation as it was."""
PATIENCE_S = 3.0
"""Seconds of silence before a line says how far the items are, and between two such lines."""


@dataclass(frozen=True)
class GymTask:
    """Items of one data set.

    Attributes:
        config: fields of the data set's own configuration.
        level: the whole number of an item's metadata that is its level, dots between its parts; "": level 0.
    """

    dataset: str
    config: str
    answer_rule: str
    level: str
    seed: int
    sizes: dict[str, int] = field(hash=False)
    name: str = TASK
    splits: tuple[str, ...] = ("train_1", "train_2", "dev", "test")

    @classmethod
    def from_options(cls, options: dict[str, Any]) -> "GymTask":
        """The task as an experiment sets it up.

        Options:
            dataset (str; required): one of the package's data sets
            config (mapping; {}): fields of the data set's own configuration
            answer (number | text | expression | choice | a rule's name; reasoning_gym): how answers are read and
                compared; by default the data set's own scorer
            level (str; none): which whole number of an item's metadata is its level, dots between its parts
            seed (int >= 0; 0): of the data set's items
            train_1 (int >= 1; 1000): size of the split [questions]
            train_2 (int >= 1; 1000): size of the split [questions]
            dev (int >= 1; 500): size of the split [questions]
            test (int >= 1; 500): size of the split [questions]
        """
        sizes = dict.fromkeys(DEFAULT_SIZES, int)
        kinds = {"dataset": str, "config": dict, "answer": str, "level": str, "seed": int}
        check_options(TASK, options, kinds | sizes)
        if not options.get("dataset"):
            raise UserError(
                f"task '{TASK}': option 'dataset' is missing: the name of one of the package's data sets"
            )
        config = options.get("config", {})
        if options["dataset"] == "composite" and not config.get("datasets"):
            raise UserError(
                f"task '{TASK}': dataset: composite has no members: name them, config: {{datasets: "
                "[{name: chain_sum, weight: 1}, ...]}, or take one data set"
            )
        if barred := {"seed", "size"} & config.keys():
            raise UserError(
                f"task '{TASK}': option 'config' sets {' and '.join(sorted(barred))}: give seed, and the sizes of "
                "the splits, beside it"
            )
        rule = ANSWERS.get(options.get("answer", SCORED), options.get("answer", SCORED))
        check_rule(rule)
        return cls(
            options["dataset"],
            json.dumps(config, sort_keys=True),
            rule,
            options.get("level", ""),
            whole_option(TASK, "seed", options.get("seed", 0)),
            {
                name: whole_option(TASK, name, options.get(name, n), 1, MAX_SIZE)
                for name, n in DEFAULT_SIZES.items()
            },
        )

    def load(self, split: str) -> list[Problem]:
        """The problems of one split.

        Raises:
            UserError: a data set that does not exist, has no scorer, or has too few distinct questions.
        """
        if split not in self.sizes:
            raise UserError(f"task '{TASK}': {unknown('split', split, list(self.splits))}")
        names = list(self.sizes)
        start = sum(self.sizes[name] for name in names[: names.index(split)])
        items = _items(self._request(), sum(self.sizes.values()))
        return [self._problem(i, item) for i, item in items[start : start + self.sizes[split]]]

    def _request(self) -> str:
        request = {"dataset": self.dataset, "config": json.loads(self.config), "seed": self.seed}
        # so many are drawn at most; some data sets make all of them before the first one comes
        size = 2 * sum(self.sizes.values()) + 100
        return json.dumps(request | {"size": size, "rule": self.answer_rule})

    def _problem(self, i: int, item: dict[str, Any]) -> Problem:
        place = f"task '{TASK}': data set '{self.dataset}', item {i}"
        marked = f"{MARKERS.get(self.answer_rule, '#### ')}{item['answer']}"
        scored = self.answer_rule == SCORED
        gold = extract(marked, SCORED) if scored else reference_answer(item["answer"], self.answer_rule)
        if gold is None:
            raise UserError(
                f"{place}: its answer, {item['answer'][:40]!r} of {len(item['answer']):,} characters, cannot be "
                f"read by rule '{self.answer_rule}' (longest: {MAX_ANSWER}): give another answer, or a config "
                "of smaller items"
            )
        thought = item["metadata"].get("answer_cot")
        has_thought = isinstance(thought, str) and extract(thought, self.answer_rule) == gold
        entry = {"dataset": self.dataset, "config": json.loads(self.config), "item": item}
        return Problem(
            f"item-{i:06d}",
            item["question"],
            gold,
            thought if has_thought else marked,
            self._level(item["metadata"], place),
            f"item-{i:06d}",
            json.dumps(entry, sort_keys=True) if scored else "",
        )

    def _level(self, metadata: dict[str, Any], place: str) -> int:
        if not self.level:
            return 0
        value: Any = metadata
        for part in self.level.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if _is_whole(value):
            return int(value)
        numbers = [name for name, number in _flat(metadata) if _is_whole(number)]
        raise UserError(
            f"{place}: its metadata has no whole number '{self.level}'; it has: {', '.join(numbers)[:300] or 'none'}"
        )


def _is_whole(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and float(value).is_integer()


def _flat(fields: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in fields.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


@lru_cache(maxsize=4)
def _items(request: str, wanted: int) -> list[tuple[int, dict[str, Any]]]:
    """The first `wanted` items with distinct questions, each with its number; kept in the user's cache folder.

    Raises:
        UserError: see `GymTask.load`.
    """
    title = json.dumps([reasoning_gym_version(), wanted, request])
    path = _kept_place(title)
    if path and (text := read_kept(path, title)):
        return [(i, item) for i, item in json.loads(text)]
    items = _distinct(request, wanted)
    if path:
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_kept(path, json.dumps(items).encode(), title)
    return items


def _kept_place(title: str) -> Path | None:
    folder = cache_folder()
    return folder and folder / TASK / f"{hashlib.sha256(title.encode()).hexdigest()[:20]}.json"


def _distinct(request: str, wanted: int) -> list[tuple[int, dict[str, Any]]]:
    name = json.loads(request)["dataset"]
    questions: dict[str, tuple[int, dict[str, Any]]] = {}
    drawn, said = 0, time.monotonic()
    for line in _lines(request):
        if error := line.get("error"):
            raise UserError(f"task '{TASK}': {error}")
        item = line["item"]
        if item["answer"] is None:
            raise UserError(
                f"task '{TASK}': data set '{name}' gives no answer to its questions, so there is no gold"
            )
        if line["right"] is False:
            raise UserError(
                f"task '{TASK}': data set '{name}', item {drawn}: its scorer does not give the item's own answer "
                f"({item['answer'][:40]!r}) full marks as it is read from a response: take another data set or config"
            )
        questions.setdefault(" ".join(item["question"].split()).casefold(), (drawn, item))
        drawn += 1
        if len(questions) == wanted:
            return list(questions.values())
        if time.monotonic() - said > PATIENCE_S:
            said = time.monotonic()
            sys.stderr.write(f"{TASK} {name}: {len(questions):,} of {wanted:,} questions\n")
    raise UserError(
        f"task '{TASK}': data set '{name}' gave {len(questions):,} distinct questions in {drawn:,} draws, {wanted:,} "
        "are wanted: lower train_1, train_2, dev or test, or give a config with more of them"
    )


def _lines(request: str) -> Iterator[dict[str, Any]]:
    """What the process that draws items says; it is ended when no more is asked for."""
    command = [sys.executable, "-P", "-m", f"{__package__}.gym_items"]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment(),
        text=True,
        encoding="utf-8",
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(request)
        process.stdin.close()
        for line in process.stdout:
            yield json.loads(line)
        if process.wait() != 0:
            raise UserError(
                f"task '{TASK}': the process that draws items ended with status {process.returncode}"
            )
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
