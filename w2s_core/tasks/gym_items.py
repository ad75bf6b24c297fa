"""Items of a reasoning-gym data set (`python -m w2s_core.tasks.gym_items`): one request comes in, lines go out.

The package is foreign code that may draw from Python's own generator or go through a set, so it runs in a process
with a fixed order of hashes. The request is a JSON object on stdin (`dataset`, `config`, `seed`, `size`, `rule`); each
line is `{"item": ..., "right": ...}`, or `{"error": ...}` and the end. `right`: whether the data set's scorer gives the
item's own answer full marks, as it is read from a response and after a way through JSON (null without a scorer).
"""

import difflib
import json
import random
import sys
import warnings
from collections.abc import Iterator
from typing import Any

from w2s_core.answers.extract import extract
from w2s_core.answers.reading import SCORED
from w2s_core.answers.scorer import is_right, make_dataset

Line = dict[str, Any]


def lines_of(request: Line) -> Iterator[Line]:
    """The items of the request, in order, or what is wrong with it."""
    from reasoning_gym.dataset import ProceduralDataset
    from reasoning_gym.factory import DATASETS

    name, scored = request["dataset"], request["rule"] == SCORED
    if name not in DATASETS:
        close = difflib.get_close_matches(name, DATASETS, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(sorted(DATASETS))}"
        yield {"error": f"there is no data set '{name}'; {hint}"}
        return
    kind, _ = DATASETS[name]
    if scored and kind.score_answer is ProceduralDataset.score_answer:
        yield {
            "error": f"data set '{name}' has no scorer of its own, it compares texts: say how, with "
            "answer: number, text, expression or choice"
        }
        return
    try:
        yield from _items(request, scored)
    except Exception as error:  # noqa: BLE001 - of a hundred data sets
        cause = " ".join(str(error).split())[:200]
        yield {"error": f"data set '{name}': {type(error).__name__}: {cause}"}


def _items(request: Line, scored: bool) -> Iterator[Line]:
    name, config, size = request["dataset"], request["config"], request["size"]
    random.seed(request["seed"])
    dataset = make_dataset(name, config, request["seed"], size)
    for place in range(size):
        drawn = dataset[place]
        item = json.loads(
            json.dumps({part: drawn[part] for part in ("question", "answer", "metadata")}, default=str)
        )
        right = None
        if scored and isinstance(item["answer"], str):
            answer = extract(f"#### {item['answer']}", SCORED)
            entry = json.dumps({"dataset": name, "config": config, "item": item})
            right = answer is not None and is_right(answer, entry)
        yield {"item": item, "right": right}


def _main() -> None:
    warnings.simplefilter("ignore")
    out, sys.stdout = sys.stdout, sys.stderr  # what the package prints is no line of ours
    for line in lines_of(json.load(sys.stdin)):
        out.write(json.dumps(line) + "\n")
        out.flush()


if __name__ == "__main__":
    _main()
