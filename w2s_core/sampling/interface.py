"""The interface of the engines that generate responses."""

from collections.abc import Callable, Collection, Mapping, Sequence
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
    stop: strings before which a response is cut; end_tokens: tokens that end one, besides EOS. repetition_penalty,
    top_k, top_p, min_p: as in transformers' GenerationConfig, with the values that change nothing as defaults (top_k:
    0); the last three are for sampling.
    """

    max_new_tokens: int
    n: int = 1
    temperature: float = 0.0
    seed: int = 0
    stop: tuple[str, ...] = STOP
    end_tokens: tuple[int, ...] = ()
    repetition_penalty: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise UserError(f"max_new_tokens must be at least 1, not {self.max_new_tokens}")
        if self.n < 1:
            raise UserError(f"n, the samples a prompt, must be at least 1, not {self.n}")
        if not 0 <= self.temperature < float("inf"):
            raise UserError(f"temperature must be 0 (greedy) or a positive number, not {self.temperature}")
        if "" in self.stop:
            raise UserError("an empty stop string would end every response at once: remove it")
        self._check_processors()

    def _check_processors(self) -> None:
        if not 0 < self.repetition_penalty < float("inf"):
            raise UserError(
                f"repetition_penalty must be a positive number (1 = none), not {self.repetition_penalty}"
            )
        if type(self.top_k) is not int or self.top_k < 0:
            raise UserError(f"top_k must be a whole number of tokens (0 = all), not {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise UserError(f"top_p must be above 0 and at most 1 (1 = all tokens), not {self.top_p}")
        if not 0 <= self.min_p <= 1:
            raise UserError(f"min_p must be from 0 (all tokens) to 1, not {self.min_p}")


@dataclass(frozen=True)
class Generation:
    """One response: its text, cut at the stop string and stripped; the tokens that it took, a closing EOS
    included; and why it ended. `length` means truncated: the model was not done.
    """

    text: str
    tokens: int
    finish: Literal["eos", "stop", "length"]


def missing(
    prompts: int, n: int, known: Sequence[Sequence[Generation]], drawn: Collection[tuple[int, int]]
) -> dict[int, list[int]]:
    """The numbers of the responses that are still to be drawn, by the place of their prompt."""
    numbers = {
        place: [
            number for number in range(len(known[place]) if known else 0, n) if (place, number) not in drawn
        ]
        for place in range(prompts)
    }
    return {place: listed for place, listed in numbers.items() if listed}


def together(
    prompts: int,
    n: int,
    known: Sequence[Sequence[Generation]],
    drawn: Mapping[tuple[int, int], Generation],
) -> list[list[Generation]]:
    """All n responses of each prompt: those that were known, then those that were drawn."""
    before = known or [()] * prompts
    return [
        [*first[:n], *(drawn[place, number] for number in range(len(first), n))]
        for place, first in enumerate(before)
    ]


class SamplingEngine(Protocol):
    """What every engine offers."""

    def generate(
        self,
        prompts: Sequence[tuple[str, str | Sequence[int]]],
        params: SamplingParams,
        *,
        prefix: str = "",
        progress: Progress | None = None,
        unfinished: Path | None = None,
        known: Sequence[Sequence[Generation]] = (),
    ) -> list[list[Generation]]:
        """Answer prompts, given as (question id, text or ids): params.n responses each, in the order of the prompts.

        `prefix` (the demonstrations) stands before every text. A response depends on the model, its
        prompt, the params, its question's id and its number among the n; never on the other prompts, their
        order or the batch. `unfinished` is a file of this sampling's own, from which a killed one goes on.
        `known`: the first responses of each prompt, where they were drawn before; only the others are drawn.
        """
        ...
