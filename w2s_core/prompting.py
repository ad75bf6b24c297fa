"""Prompts, and the one place that decides about special tokens (paper, section 4.1 and appendix A.1).

Sampling and training both encode through this module, so that a model is asked exactly as it was trained:
BOS stands once at the very start, where the tokenizer's own configuration adds it, and EOS closes a
completion. Prompt and completion are tokenised apart: no token can straddle their boundary.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from w2s_core.errors import UserError

STOP = ("\nQuestion:",)
"""Where a response ends if the model goes on to write the next question by itself."""
QUESTION = "{question}"
"""Where a question stands in a template of the user's own."""
QA = f"Question: {QUESTION}\nAnswer:"


def zero_shot(question: str) -> str:
    """The prompt of a question without demonstrations. It ends where the answer, with its space, begins."""
    return QA.replace(QUESTION, question)


def completion(response: str) -> str:
    """The text that follows a prompt when `response` answers it."""
    return " " + response.strip()


def few_shot_prefix(demonstrations: Iterable[tuple[str, str]], user: str = QA) -> str:
    """The text that stands before a prompt to show how others were answered: (question, response) each, in the words
    of the template `user`.
    """
    return "".join(
        f"{user.replace(QUESTION, question)}{completion(response)}\n\n"
        for question, response in demonstrations
    )


def shown_in_question(demonstrations: Iterable[tuple[str, str]], question: str) -> str:
    """A chat's question with demonstrations as text in it."""
    return f"{few_shot_prefix(demonstrations)}Question: {question}"


class TextEncoder:
    """Encodes prompts in plain text: a template with a place for the question, after a system text if there is any.

    Attributes:
        stop: what the model writes where it goes on to the next question.
        end_tokens: tokens that end a response besides EOS.
    """

    end_tokens: tuple[int, ...] = ()

    def __init__(self, tokenizer: Any, *, system: str = "", user: str = QA) -> None:
        self._tokenizer, self._user = tokenizer, user
        self._before = f"{system}\n\n" if system else ""
        head = user.partition(QUESTION)[0].strip()
        self.stop = (f"\n{head}",) if head else ()

    def prompt(self, question: str, shown: Sequence[tuple[str, str]] = ()) -> list[int]:
        """Token ids of a question; `shown`: (question, response) each, before it."""
        text = few_shot_prefix(shown, self._user) + self._user.replace(QUESTION, question)
        return encode_prompt(self._tokenizer, self._before + text)

    def completion(self, response: str) -> list[int]:
        """Token ids of a response, closed by EOS."""
        return encode_completion(self._tokenizer, response)


def encode_prompt(tokenizer: Any, text: str | Sequence[int], prefix: str = "") -> list[int]:
    """Token ids of a prompt: [BOS] + prefix + text, with BOS only if the tokenizer adds it itself. Ids stay as they
    are.
    """
    if not isinstance(text, str):
        return list(text)
    text = prefix + text
    ids = _plain_ids(tokenizer, text)
    return [tokenizer.bos_token_id, *ids] if adds_bos(tokenizer) else ids


def encode_completion(tokenizer: Any, response: str) -> list[int]:
    """Token ids of a response as it follows a prompt, closed by EOS.

    A SentencePiece tokenizer starts every text with a word boundary, which is the space that `completion`
    writes: there the response is encoded bare, since a second boundary is nothing that the model would ever
    sample.
    """
    if tokenizer.eos_token_id is None:
        raise UserError("the tokenizer has no EOS token: set eos_token in its tokenizer_config.json")
    text = response.strip() if _adds_space(tokenizer) else completion(response)
    return [*_plain_ids(tokenizer, text), tokenizer.eos_token_id]


def adds_bos(tokenizer: Any) -> bool:
    """Whether the tokenizer's own configuration puts BOS before a text."""
    bos = tokenizer.bos_token_id
    return bos is not None and tokenizer("a").input_ids[:1] == [bos]


def _plain_ids(tokenizer: Any, text: str) -> list[int]:
    """Ids of the text alone. A text that spells a special token out ("</s>") stays text and ends nothing."""
    return list(tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids)


def _adds_space(tokenizer: Any) -> bool:
    """Whether the tokenizer marks a word boundary (U+2581) before a text that starts with none."""
    first = tokenizer.convert_ids_to_tokens(_plain_ids(tokenizer, "a")[:1])
    return bool(first) and str(first[0]).startswith("\u2581")
