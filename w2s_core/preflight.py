"""Checks of base models before the first step, so that a bad strong model does not cost the weak one's training:
config, tokenizer, code, tensors and context, by the same calls that a step makes. No tensor is read.
"""

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from w2s_core.errors import UserError

REFUSED = 2
LIMIT_S = 600.0
PAGE = 8
"""Questions of each split with their solutions, which a tokenizer has to give back."""


@dataclass(frozen=True)
class BaseUse:
    """A base model and its longest inputs: questions as (split, id, text), and tokens of a response.

    page: texts of the task that its tokenizer has to give back. prompt: how it is asked, as name and value. turns:
    whether demonstrations are earlier turns of a chat.
    """

    side: str
    ref: str
    source: str
    prompts: tuple[tuple[str, str, str], ...]
    new_tokens: int
    page: tuple[str, ...] = ()
    prompt: tuple[tuple[str, str], ...] = ()
    turns: bool = False


def check_graphs(graphs: Iterable[Any], store: Any, *, apart: bool) -> None:
    """Refuse base models that no step could use; of a graph (`runs.Graph`) that is computed already nothing is asked.

    Args:
        apart: in a process of its own, so that a driver which computes nothing does not keep torch in its memory.

    Raises:
        UserError: the first model that cannot be used, and why.
    """
    alike: dict[tuple[Any, ...], list[Any]] = {}  # a sweep's thousands of graphs ask the same of a few models
    for graph in graphs:
        prompts = tuple(_prompt(graph, side) for side in graph.models)
        questions = (*graph.models.values(), prompts, graph.experiment.max_new_tokens, id(graph.splits))
        alike.setdefault(questions, []).append(graph)
    models = [use for same in alike.values() if _missing(same, store) for use in base_uses(same[0])]
    check_models(models, apart=apart)


def _missing(graphs: Iterable[Any], store: Any) -> bool:
    """Whether anything is left to compute."""
    return any(not store.has(handle.key) for graph in graphs for handle in graph.targets.values())


def base_uses(graph: Any) -> list[BaseUse]:
    """The bases of a graph (`runs.Graph`), with the longest question of each split that they answer."""
    prompts = []
    for split, problems in graph.splits.problems.items():
        if split != "train_1":
            longest = max(problems, key=lambda problem: len(problem.question))
            prompts.append((split, longest.id, longest.question))
    tokens, shown = graph.experiment.max_new_tokens, _shown_turns(graph)
    uses = []
    for side, ref in graph.models.items():
        prompt = _prompt(graph, side)
        page = task_page(graph.splits.problems, dict(prompt))
        uses.append(BaseUse(side, ref, graph.bases[ref], tuple(prompts), tokens, page, prompt, side in shown))
    return uses


def task_page(problems: Mapping[str, Sequence[Any]], prompt: Mapping[str, str] | None) -> tuple[str, ...]:
    """Texts of a task (`w2s_core.tasks.Problem`), the first of each split, in the words of a prompt."""
    from w2s_core.prompting import completion

    return tuple(
        prompt_text(problem.question, prompt) + completion(problem.solution)
        for rows in problems.values()
        for problem in rows[:PAGE]
    )


def prompt_text(question: str, prompt: Mapping[str, str] | None) -> str:
    """The texts of a prompt, without what a chat's template puts around them."""
    from w2s_core.prompting import QA, QUESTION

    words = dict(prompt or {})
    user = words.get("user", QUESTION if words.get("form") == "chat" else QA)
    before = f"{words['system']}\n\n" if "system" in words else ""
    return before + user.replace(QUESTION, question)


def template_tokens(folder: Path, prompt: Mapping[str, str] | None) -> int:
    """Tokens that stand around a question and its answer: BOS and EOS, or those of a chat's template."""
    words = {name: text for name, text in (prompt or {}).items() if name != "user"}
    if words.get("form") != "chat":
        return 2  # BOS and EOS
    from w2s_core.models import encoder_of, folder_tokenizer

    tokenizer = folder_tokenizer(folder)
    encoder, text = encoder_of(tokenizer, words), "7"
    texts = (words.get("system", ""), text, text)
    own = sum(len(tokenizer(part, add_special_tokens=False).input_ids) for part in texts)
    return len(encoder.prompt(text)) + len(encoder.completion(text)) - own


def _shown_turns(graph: Any) -> set[str]:
    """The sides that demonstrations are shown to as turns of a chat."""
    from w2s_core.engine.step import topological
    from w2s_core.models import base_of

    shown = [
        base_of(handle).params
        for handle in topological(graph.targets.values())
        if "model" in handle.inputs
        and getattr(handle.inputs.get("demonstrations"), "name", "") in ("demonstrate", "demonstrate_gold")
    ]
    asked = {side: {"ref": ref, "prompt": dict(_prompt(graph, side))} for side, ref in graph.models.items()}
    return {side for side, params in asked.items() if params["prompt"] and params in shown}


def _prompt(graph: Any, side: str) -> tuple[tuple[str, str], ...]:
    return tuple((graph.experiment.prompt_of(side) or {}).items())


def check_models(models: Iterable[BaseUse], *, apart: bool) -> None:
    """Look at each model once; see `check_graphs`."""
    listed = list(dict.fromkeys(models))
    if not listed:
        return
    if not apart or "torch" in sys.modules:
        for use in listed:
            check_model(use)
        return
    job = json.dumps([asdict(use) for use in listed])
    command = [sys.executable, "-m", "w2s_core.preflight"]
    try:
        done = subprocess.run(
            command, input=job, capture_output=True, text=True, check=False, timeout=LIMIT_S
        )
    except subprocess.TimeoutExpired:
        raise UserError(
            f"the check of the models was not done within {LIMIT_S:.0f} s: the disk does not answer, or a limit on "
            "address space (ulimit -v) is too low for the libraries, some of which then wait for ever"
        ) from None
    if done.returncode == REFUSED:
        raise UserError(done.stdout.strip())
    if done.returncode:
        raise RuntimeError(f"the check of the models broke off: {done.stderr.strip()}")


def check_model(use: BaseUse) -> None:
    """Load what is small of a model. Raises UserError, naming the side."""
    from w2s_core.models import check_round_trip, open_base

    try:
        config, tokenizer = open_base(use.ref, {use.ref: use.source})
        check_round_trip(use.source, tokenizer, use.page)
        _check_context(use, config, tokenizer)
    except UserError as error:
        raise UserError(f"{use.side}: {error}") from None


def _check_context(use: BaseUse, config: Any, tokenizer: Any) -> None:
    from w2s_core.models import encoder_of

    try:
        encoder_of(tokenizer, dict(use.prompt), turns=int(use.turns))
        encoder = encoder_of(tokenizer, dict(use.prompt))
    except UserError as error:
        raise UserError(f"{use.source}: {error}") from None
    context = getattr(config.get_text_config(), "max_position_embeddings", None) or sys.maxsize
    for split, name, text in use.prompts:
        tokens = len(encoder.prompt(text))
        if tokens + use.new_tokens > context:
            raise UserError(
                f"{use.source}: its context of {context} tokens is too short for max_new_tokens = "
                f"{use.new_tokens} after question '{name}' of {split} ({tokens} tokens): lower max_new_tokens"
            )


def _main() -> int:
    """Check the models that stand on stdin as JSON."""
    listed: list[Mapping[str, Any]] = json.load(sys.stdin)
    for fields in listed:
        pairs = {name: tuple(map(tuple, fields[name])) for name in ("prompts", "prompt")}
        try:
            check_model(BaseUse(**{**fields, **pairs, "page": tuple(fields["page"])}))
        except UserError as error:
            sys.stdout.write(str(error))
            return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(_main())
