"""How fast this machine trains and samples a base model, from a few steps of it, and what a plan then takes.

A measurement takes seconds to a minute, so that a plan makes one only where it is asked to. It is kept in the user's
cache folder by host, device, precision and the base's own digest.
"""

import contextlib
import hashlib
import json
import platform
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

from w2s_core.engine import Handle
from w2s_core.engine.digest_cache import cache_folder
from w2s_core.engine.disk import read_kept, write_kept
from w2s_core.engine.planning import Planned
from w2s_core.models import base_of
from w2s_core.preflight import prompt_text, template_tokens
from w2s_core.tasks import Problem

if TYPE_CHECKING:
    from w2s_core.runs import Graph

ROWS, STEPS = 16, 2
"""Rows of a measured training step, and how many steps are measured beyond the first."""
RESPONSES, TOKENS = 64, 32
"""Measured responses, and tokens of each."""
PREFERENCE = 2.7
"""What a pair costs over a row: two sides, each also read by the reference (a third of a step)."""


@dataclass(frozen=True)
class Speed:
    """Tokens a second in training and in sampling, and how many characters a token of the task has."""

    train: float
    sample: float
    characters: float


def speeds(graph: "Graph", device: str, *, measured: bool) -> dict[str, Speed]:
    """The speed of each base of a graph that was measured on this machine; `measured`: measure the others now."""
    known = {}
    for ref, source in graph.bases.items():
        title = json.dumps([platform.node(), platform.processor(), device, graph.experiment.precision, ref])
        folder = cache_folder()
        path = folder and folder / "speed" / f"{hashlib.sha256(title.encode()).hexdigest()[:20]}.json"
        text = read_kept(path, title) if path else None
        if text is not None:
            known[ref] = Speed(**json.loads(text))
        elif measured:
            known[ref] = measure(ref, source, _problems(graph)[:ROWS], graph.experiment.precision, device)
            if path:
                with contextlib.suppress(OSError):
                    path.parent.mkdir(parents=True, exist_ok=True)
                write_kept(path, json.dumps(asdict(known[ref])).encode(), title)
    return known


def measure(ref: str, source: str, problems: Sequence[Problem], precision: str, device: str) -> Speed:
    """Time a few steps of this base: a training on gold solutions, and responses to the same questions.

    On a CPU it is the processor's time of one thread, as steps use it, so that a busy machine changes nothing.
    """
    import torch

    from w2s_core.models import load_model
    from w2s_core.prompting import zero_shot
    from w2s_core.sampling import SamplingParams, TransformersEngine

    clock = time.process_time if device == "cpu" else time.monotonic
    if device == "cpu":
        torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        model = Path(place) / "model"
        model.mkdir()
        (model / "model.json").write_text(json.dumps({"base": ref, "adapters": []}))
        rate = _training_rate(model, {ref: source}, problems, precision, device, clock)
        loaded, tokenizer = load_model(model, {ref: source}, device=device, precision=precision)
        engine = TransformersEngine(loaded, tokenizer)
        prompts = [(str(n), zero_shot(problems[n % len(problems)].question)) for n in range(RESPONSES)]
        started = clock()
        drawn = engine.generate(prompts, SamplingParams(TOKENS, stop=()))
        elapsed = clock() - started
    sampled = sum(response.tokens for responses in drawn for response in responses)
    texts = [f"{zero_shot(problem.question)} {problem.solution}" for problem in problems]
    characters = sum(map(len, texts)) / sum(len(tokenizer(text).input_ids) for text in texts)
    return Speed(rate, sampled / max(1e-6, elapsed), characters)


def _training_rate(
    model: Path,
    bases: Mapping[str, str],
    problems: Sequence[Problem],
    precision: str,
    device: str,
    clock: Callable[[], float],
) -> float:
    """Tokens a second in the steps of a training after the first, in which all is set up."""
    from w2s_core.training import Site, TrainSettings, train

    out, work = model.parent / "out", model.parent / "work"
    out.mkdir()
    work.mkdir()
    rows = [
        {"id": problem.id, "question": problem.question, "response": problem.solution} for problem in problems
    ]
    settings = TrainSettings(
        method="sft",
        learning_rate=1e-6,
        batch_size=len(rows),
        max_steps=1 + STEPS,
        precision=precision,  # type: ignore[arg-type]
    )
    ends: dict[float, float] = {}  # of each step, by its number

    def note(done: float, total: float | None = None, unit: str = "", note: str = "") -> None:
        ends.setdefault(done, clock())

    trained = train(model, rows, settings, Site(bases, out, work, device), note)
    elapsed = ends[1 + STEPS] - ends[1]
    return float(trained["tokens"] * STEPS / (1 + STEPS) / max(1e-6, elapsed))


def estimated(steps: Sequence[Planned], graph: "Graph", known: Mapping[str, Speed]) -> list[Planned]:
    """The steps of a plan; those that the store knows no duration of get one by the speed of their base."""
    return [
        step if step.expected_s is not None else replace(step, expected_s=_seconds(step.handle, graph, known))
        for step in steps
    ]


def _seconds(handle: Handle, graph: "Graph", known: Mapping[str, Speed]) -> float | None:
    """Of a step that trains or samples; None for others, and where its base was not measured.

    Responses are taken to be as long as the task's gold solutions, and an agreed set or pairs to be of all questions:
    the most that it may take.
    """
    base = base_of(handle)
    speed = None if base is handle else known.get(str(base.params.get("ref")))
    if speed is None:
        return None
    problems, before = _asked(handle, graph)
    if not problems:
        return None
    question, solution = _mean_tokens(base, graph, problems, speed.characters)
    if "settings" in handle.params:
        settings, batch = handle.params["settings"], int(handle.params["settings"]["batch_size"])
        columns = len(handle.params.get("columns", "1"))
        taken = settings["max_steps"] or ceil(settings["epochs"] * len(problems) * columns / batch)
        pairs = PREFERENCE if handle.name == "prefer" else 1.0
        return float(taken * batch * (1 + before) * (question + solution) * pairs / speed.train)
    if handle.params.get("engine", "transformers") != "transformers":
        return None
    length = min(solution, handle.params["max_new_tokens"])
    return float(len(problems) * handle.params.get("n", 1) * length / speed.sample)


def _mean_tokens(
    base: Handle, graph: "Graph", problems: Sequence[Problem], characters: float
) -> tuple[float, float]:
    """Tokens of a prompt, as the base model is asked, and of a gold solution."""
    prompt = base.params.get("prompt")
    source = Path(graph.bases[base.params["ref"]])
    around = template_tokens(source, prompt) if source.is_dir() else 0
    texts = [prompt_text(p.question, prompt) for p in problems]
    return (
        around + sum(map(len, texts)) / len(problems) / characters,
        sum(len(p.solution) for p in problems) / len(problems) / characters,
    )


def _asked(handle: Handle, graph: "Graph") -> tuple[Sequence[Problem], float]:
    """The problems that a step asks, and how many solved ones its prompts show before each in the mean."""
    before = 0.0
    while "questions" in handle.inputs:
        handle = handle.inputs["questions"]
        before += handle.params.get("shown", 0) * handle.params.get("share", 1.0)
    return graph.splits.problems.get(str(handle.params.get("split")), ()), before


def _problems(graph: "Graph") -> list[Problem]:
    """Training questions, or where a recipe has none, any."""
    splits = graph.splits.problems
    return list(splits.get("train_1") or splits.get("train_2") or next(iter(splits.values())))
