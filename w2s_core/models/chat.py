"""Prompts by a tokenizer's own chat template, in training and sampling alike.

The template is run on placeholders, once for each number of turns. What it writes around them is split at its special
tokens, and a question's texts are put in their places. So no text of a question or an answer can end a turn, and the
ids are those that the tokenizer gives the whole conversation.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from w2s_core.errors import UserError
from w2s_core.models.base_files import NO_TEMPLATE
from w2s_core.models.chat_render import render
from w2s_core.prompting import QUESTION, TextEncoder, shown_in_question

_SYSTEM = "w2s-system."
Piece = str | int
"""Text, or the id of a special token."""


def encoder_of(
    tokenizer: Any, prompt: Mapping[str, str] | None, *, shots: str = "turns", turns: int = 0
) -> Any:
    """What encodes the prompts and responses of a model that is asked in this way (`TextEncoder`, `ChatEncoder`).

    prompt: as a base's artifact holds it; None is the plain "Question: ...". shots: whether demonstrations are earlier
    "turns" of a chat, or "text" in its question. turns: how many demonstrations there will be.
    """
    fields = dict(prompt or {})
    if fields.pop("form", "qa") == "chat":
        return ChatEncoder(tokenizer, **fields, turns=turns if shots == "turns" else 0)
    return TextEncoder(tokenizer, **fields)


class ChatEncoder:
    """Encodes by the tokenizer's chat template. Texts are taken without the spaces around them, as templates do.

    Raises:
        UserError: there is no template, or it drops or changes one of the texts.
    """

    stop: tuple[str, ...] = ()

    def __init__(self, tokenizer: Any, *, system: str = "", user: str = QUESTION, turns: int = 0) -> None:
        self._tokenizer, self._system, self._user, self._turns = tokenizer, system, user, turns
        self._template = _template_of(tokenizer)
        self._special = {
            str(token): (number, token)
            for number, token in tokenizer.added_tokens_decoder.items()
            if token.special
        }
        state = tokenizer.backend_tokenizer.to_str()
        self._backends = {place: _variant(state, place) for place in ("start", "segment", "inside")}
        asked = self._messages(0)
        opened, answered, shown = self._rendered(
            [asked, [*asked, _turn("assistant", _answer(0))], self._messages(turns)]
        )
        before, _, after = answered.partition(_answer(0))
        # what stands between the opened answer and its text: a space, or the end of a block for thoughts
        lead = before[len(opened) :] if before.startswith(opened) else ""
        self._opening = lead if lead.strip() else ""
        self._lead = "" if lead.strip() else lead
        *self._closing, self._end = self._ending(after)
        self.end_tokens = (int(self._end),)
        self._alone, self._shown = (self._split(text + self._opening) for text in (opened, shown))

    def prompt(self, question: str, shown: Sequence[tuple[str, str]] = ()) -> list[int]:
        """Token ids of a question, up to where its answer begins; `shown`: (question, response) each."""
        asked = self._asked(question)
        if not self._turns:
            text = shown_in_question(shown, asked) if shown else asked
            return self._ids(self._alone, {_SYSTEM: self._system, _question(0): text})
        if len(shown) != self._turns:
            raise UserError(f"{len(shown)} demonstrations, and the prompt was made for {self._turns}")
        texts = {_SYSTEM: self._system, _question(len(shown)): asked}
        for i, (earlier, response) in enumerate(shown):
            texts |= {_question(i): self._asked(earlier), _answer(i): response.strip()}
        return self._ids(self._shown, texts)

    def completion(self, response: str) -> list[int]:
        """Token ids of a response as it follows a prompt, with the tokens that close its turn."""
        text = self._lead + response.strip() + "".join(map(str, self._closing))
        after_token = isinstance(self._alone[-1], int)
        return [*self._encode(text, "segment" if after_token else "inside"), int(self._end)]

    def _asked(self, question: str) -> str:
        return self._user.replace(QUESTION, question).strip()

    def _messages(self, shots: int) -> list[dict[str, str]]:
        turns = [_turn("system", _SYSTEM)] if self._system else []
        for i in range(shots):
            turns += [_turn("user", _question(i)), _turn("assistant", _answer(i))]
        return [*turns, _turn("user", _question(shots))]

    def _rendered(self, conversations: list[list[dict[str, str]]]) -> list[str]:
        specials = {
            name: str(token)
            for name, token in self._tokenizer.special_tokens_map.items()
            if isinstance(token, str)
        }
        texts = render(self._template, specials, conversations)
        for messages, text in zip(conversations, texts, strict=True):
            for message in messages:
                if (count := text.count(message["content"])) != 1:
                    raise UserError(_CHANGED[message["role"]].format("drops" if not count else "repeats"))
        return texts

    def _ending(self, text: str) -> list[Piece]:
        """What closes an answer: the text before its end, and the token that ends it."""
        first = next((piece for piece in self._split(text) if isinstance(piece, int)), None)
        if first is not None:
            return [text.partition(str(self._tokenizer.convert_ids_to_tokens(first)))[0], first]
        if text.strip():
            raise UserError(
                f"the chat template closes an answer with {text.strip()[:40]!r}, which is no special token, so nothing "
                "would end a response: use prompt: qa, or a template in plain text"
            )
        return ["", self._tokenizer.eos_token_id]

    def _split(self, text: str) -> list[Piece]:
        """The text split at placeholders and special tokens."""
        names = sorted(self._special, key=len, reverse=True)
        marks = "|".join(map(re.escape, names))
        slots = r"w2s-(?:system|question-\d+|answer-\d+: 1 \+ 1 = 2\n\n#### 2)\."
        parts = re.split(f"({slots}{'|' + marks if marks else ''})", text)
        return [self._special[part][0] if part in self._special else part for part in parts if part]

    def _ids(self, pieces: Sequence[Piece], texts: Mapping[str, str]) -> list[int]:
        ids: list[int] = []
        run, before = "", None
        for piece in (*pieces, None):
            if isinstance(piece, str):
                run += texts.get(piece, piece)
                continue
            after = None if piece is None else self._token(piece)
            run = run.lstrip() if before is not None and before.rstrip else run
            run = run.rstrip() if after is not None and after.lstrip else run
            if run:
                ids += self._encode(run, "segment" if ids else "start")
            ids += [] if piece is None else [piece]
            run, before = "", after
        return ids

    def _encode(self, text: str, place: str) -> list[int]:
        return list(self._backends[place].encode(text, add_special_tokens=False).ids)

    def _token(self, number: int) -> Any:
        return self._tokenizer.added_tokens_decoder[number]


_CHANGED = {
    "system": "the chat template {} the system text: leave prompt.system out, or write it into prompt.user",
    "user": "the chat template {} the question: use prompt: qa, or a template in plain text",
    "assistant": "the chat template {} the text of an answer, or changes it: use demonstrations: text, or prompt: qa",
}


def _turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _question(number: int) -> str:
    return f"w2s-question-{number}."


def _answer(number: int) -> str:
    # with lines and figures, so that a template which trims answers is seen to
    return f"w2s-answer-{number}: 1 + 1 = 2\n\n#### 2."


def _template_of(tokenizer: Any) -> str:
    if not tokenizer.chat_template:
        raise UserError(NO_TEMPLATE)
    if not hasattr(tokenizer, "backend_tokenizer"):
        raise UserError("prompt: chat needs a tokenizer.json: save the tokenizer anew with transformers")
    try:
        return str(tokenizer.get_chat_template())
    except ValueError as error:
        raise UserError(f"its chat template cannot be chosen: {' '.join(str(error).split())[:200]}") from None


def _variant(state: str, place: str) -> Any:
    """The tokenizer for texts at a place. One of SentencePiece's kind marks a word's boundary before a text: at the
    "start" of all, before each "segment" that a special token opens, or at neither, "inside" a text.
    """
    from tokenizers import Tokenizer

    parts = json.loads(state)
    for name in ("normalizer", "pre_tokenizer"):
        parts[name] = _unmarked(parts[name], place)
    backend = Tokenizer.from_str(json.dumps(parts))
    backend.encode_special_tokens = True
    return backend


def _unmarked(part: Any, place: str) -> Any:
    """A normalizer or pre-tokenizer without the marks that it would not set at a place."""
    if part is None or place == "start":
        return part
    for members in ("normalizers", "pretokenizers"):
        if members in part:
            kept = [_unmarked(member, place) for member in part[members]]
            return part | {members: [member for member in kept if member is not None]}
    if part["type"] == "Prepend" and place == "inside":
        return None
    if part["type"] == "Metaspace" and (place == "inside" or part.get("prepend_scheme") == "first"):
        return part | {"prepend_scheme": "never"}
    return part
