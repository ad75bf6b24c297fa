"""The interface of the engines that generate responses."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from w2s_core.errors import UserError
from w2s_core.prompting import STOP

Progress = Callable[[int, int, str], None]
"""Called as progress(done, total, unit)."""


@dataclass(frozen=True)
class SamplingParams:
    """What decides a sample, beside the model and the prompt. Raises UserError on values that make no sense.

    max_new_tokens: limit in tokens; n: samples a prompt; temperature: 0 is greedy; seed: any integer;
    stop: strings before which a response is cut.
    """

    max_new_tokens: int
    n: int = 1
    temperature: float = 0.0
    seed: int = 0
    stop: tuple[str, ...] = STOP

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise UserError(f"max_new_tokens must be at least 1, not {self.max_new_tokens}")
        if self.n < 1:
            raise UserError(f"n, the samples a prompt, must be at least 1, not {self.n}")
        if not 0 <= self.temperature < float("inf"):
            raise UserError(f"temperature must be 0 (greedy) or a positive number, not {self.temperature}")
        if "" in self.stop:
            raise UserError("an empty stop string would end every response at once: remove it")


@dataclass(frozen=True)
class Generation:
    """One response: its text, cut at the stop string and stripped; the tokens that it took, a closing EOS
    included; and why it ended. `length` means truncated: the model was not done.
    """

    text: str
    tokens: int
    finish: Literal["eos", "stop", "length"]


class SamplingEngine(Protocol):
    """What every engine offers."""

    def generate(
        self,
        prompts: Sequence[tuple[str, str]],
        params: SamplingParams,
        *,
        prefix: str = "",
        progress: Progress | None = None,
        unfinished: Path | None = None,
    ) -> list[list[Generation]]:
        """Answer prompts, given as (question id, text): params.n responses each, in the order of the prompts.

        `prefix` (the demonstrations) stands before every prompt. A response depends on the model, its
        prompt, the params, its question's id and its number among the n; never on the other prompts, their
        order or the batch. `unfinished` is a file of this sampling's own, from which a killed one goes on.
        """
        ...
