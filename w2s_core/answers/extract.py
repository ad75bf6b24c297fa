r"""Final answers: where they stand in a response. What makes two of them the same is in `forms`.

A response is untrusted text. Nothing here evaluates it, raises on it, or takes more than linear time over it.
Characters that are no text are removed first (`characters.clean`); then a rule says where the answer stands:

* `gsm8k`: the rest of the line after the last `####`.
* `math`: what follows the last `The answer is`; without one, the content of the last `\boxed{}`. Boxes that only commas
  or "and" part (`\boxed{3}, \boxed{5}`) are one answer, a list.
* `reasoning_gym`: all that follows the last `####`, line ends included. Which answers are right says the data set's
  own scorer (`scorer`); which are the same, their texts.
* `choice`: the letter or letters after either marker (`The answer is`, `####`), or a response of nothing but letters.

Further rules are plug-ins (`w2s_core.plugins.RULES`): trusted code of the user's, run without a time limit.

A model that does not stop goes on with a question of its own. The text ends at a line that begins with `Question`, or
at `Q:` or `Problem:` after a blank line, if an answer stands before it; before any answer such a line restates
the task.
"""

import re
from collections.abc import Callable
from enum import StrEnum

from w2s_core import plugins
from w2s_core.answers.characters import END_OF_TURN, clean, has_special_token
from w2s_core.answers.letters import letters_of
from w2s_core.answers.limits import MAX_ANSWER
from w2s_core.answers.reading import SCORED, canonical
from w2s_core.errors import UserError


class Verdict(StrEnum):
    """What grading one answer gives.

    Neither right nor wrong: `timed_out` (not decided within the limits) and `undecided` (compared to the end, and
    neither shown to be the same as the gold answer nor shown to differ).
    """

    RIGHT = "right"
    WRONG = "wrong"
    UNPARSED = "unparsed"
    TIMED_OUT = "timed_out"
    UNDECIDED = "undecided"


def extract(response: str, rule: str) -> str | None:
    """The final answer of a response as it is written, or None where there is none.

    Raises:
        UserError: a rule that does not exist.
    """
    answer_in, first_marker = _rule(rule)
    text = clean(_first_turn(response, first_marker) if has_special_token(response) else response)
    answer = answer_in(_before_next_question(text, first_marker))
    if not answer or len(answer) > MAX_ANSWER or _says_nothing(answer):
        return None
    return answer


def _says_nothing(text: str) -> bool:
    """Whether there is only punctuation and white space, a control character or a no-break space included."""
    if text[0].isalnum():
        return False
    return all(char in _NOTHING or char.isspace() for char in text)


def reference_answer(text: str, rule: str) -> str | None:
    """The final answer that a reference states: alone, or behind the rule's marker; None where it cannot be read.

    Raises:
        UserError: a rule that does not exist.
    """
    # `5` is a reference; `2+3=5\n#### 5` is a solution that ends in one
    answer = extract(text, rule) if holds_marker(text, rule) else text.strip()
    if not answer or _says_nothing(answer) or canonical(answer, rule) is None:
        return None
    return None if rule == "choice" and letters_of(answer) is None else answer


def holds_marker(response: str, rule: str) -> bool:
    """Whether a marker of the rule stands in a response, with or without an answer."""
    return _rule(rule)[1](clean(response)) >= 0


def check_rule(rule: str) -> None:
    """Raise UserError if there is no answer rule of this name."""
    _rule(rule)


_NOTHING = frozenset("$%*.`:#\\[](){}")
_NEXT_QUESTION = re.compile(
    r"\n[ \t*#>]*Question\b"
    r"|\n[ \t]*\n[ \t*#>]*(?:Q|Problem|Exercise|Human|User|Instruction)[ \t]*\d{0,4}[ \t*]*[:.)]"
)
_STARTS_AS_NUMBER = re.compile(r"[-+−–$€£¥₹(.\\ ]{0,4}\w?[\d½¼¾]")
_BOXES = re.compile(r"\\(?:boxed|fbox)[ \t\n]*\{|\\.|[{}]", re.DOTALL)
_BARE_BOX = re.compile(r"\\boxed[ \t]+([^\s${}\\]+)")
_AND_OR = r"(?:and|or|\\text\{ ?(?:and|or) ?\})"
# a sign or a word must part them: a box that is written again in the next line is no list
_BETWEEN_BOXES = re.compile(
    rf"[ \t.$]*\n?[ \t$]*(?:[,;&][ \t$]*\n?[ \t]*{_AND_OR}?|{_AND_OR})[ \t$]*\n?[ \t$]*"
)
_NEXT_SENTENCE = re.compile(r"\.\s+[A-Z]")
_MARKER = re.compile(r"[Tt]he (?:final )?answer is\b:?")
_CHOICE_MARKER = re.compile(r"####|(?i:answer)(?i: is)?\s?:?(?!\w)|\\boxed")


def _first_turn(response: str, first_marker: Callable[[str], int]) -> str:
    """The response up to a token that ends a turn, if a place for an answer stands before it."""
    start = first_marker(response)
    end = END_OF_TURN.search(response, start) if start >= 0 else None
    return response[: end.start()] if end else response


def _before_next_question(text: str, first_marker: Callable[[str], int]) -> str:
    start = first_marker(text)
    following = _NEXT_QUESTION.search(text, start) if start >= 0 else None
    return text[: following.start()] if following else text


# GSM8K -------------------------------------------------------------------------------------------------------------


def _gsm8k_marker(text: str) -> int:
    return text.find("####")


def _gsm8k(text: str) -> str | None:
    """The rest after the last `####` that has something behind it: one cut off in a repetition keeps its answer."""
    start = text.rfind("####")
    end = len(text)
    while start >= 0:
        line = _line_after(text, start + 4, end)
        if line:
            return line
        end = start
        start = text.rfind("####", 0, start)
    return None


def _line_after(text: str, start: int, end: int) -> str:
    """The rest of the line at `start`; where that is empty, a number that begins the next line with text."""
    newline = text.find("\n", start, end)
    line = _before_word_question(text[start : end if newline < 0 else newline]).strip("# \t\r")
    if line or newline < 0:
        return line
    below = text[newline : min(end, newline + 2 * MAX_ANSWER)].strip().partition("\n")[0]
    return _before_word_question(below).rstrip("# \t\r") if _STARTS_AS_NUMBER.match(below) else ""


def _before_word_question(line: str) -> str:
    """A line that runs on into the next question without a line end: `5Question: ...`."""
    return line.partition("Question")[0]


# MATH --------------------------------------------------------------------------------------------------------------


def _math_marker(text: str) -> int:
    phrase = _MARKER.search(text)
    places = [text.find("\\boxed"), text.find("\\fbox"), phrase.start() if phrase else -1]
    return min((place for place in places if place >= 0), default=-1)


def _math(text: str) -> str | None:
    r"""What follows the last `The answer is`; without one, the content of the last `\boxed{}`."""
    for tail in reversed(_MARKER.split(text)[1:]):
        block = _leading_block(_before_word_question(tail))
        if block and not _says_nothing(block):
            inside = last_box(block)
            return block if inside is None else inside
    return last_box(text)


def _leading_block(tail: str) -> str:
    """The first line of the tail, with the next ones as long as a brace or an environment stays open."""
    block = ""
    for line in tail.strip().split("\n"):
        block = f"{block}\n{line}" if block else line
        if len(block) > MAX_ANSWER or not _is_open(block):
            break
    sentence = _NEXT_SENTENCE.search(block)
    return block[: sentence.start()] if sentence else block.strip()


def _is_open(block: str) -> bool:
    return (
        block.count("{") > block.count("}")
        or block.count("\\begin") > block.count("\\end")
        or block.count("\\[") > block.count("\\]")
        or block.count("$$") % 2 == 1
    )


def last_box(text: str) -> str | None:
    r"""The content of the `\boxed{}` that closes last; boxes are a list where only commas or "and" part them."""
    if "boxed" not in text and "fbox" not in text:
        return None
    boxes = _boxes(text)
    if not boxes:
        bare = _BARE_BOX.findall(text)
        return bare[-1] if bare else None
    first = len(boxes) - 1
    while first and _BETWEEN_BOXES.fullmatch(text, boxes[first - 1][2], boxes[first][0]):
        first -= 1
    contents = [text[start:end].strip() for _, start, end in _contents(boxes[first:])]
    return ", ".join(content for content in contents if content) or None


_Box = tuple[int, int, int]
"""Where a box begins, where its content begins, and where it ends, behind its brace."""


def _contents(boxes: list[_Box]) -> list[_Box]:
    return [(begin, start, end - 1) for begin, start, end in boxes]


def _boxes(text: str) -> list[_Box]:
    """The boxes that are closed, in one pass over the text; of nested ones, the outermost."""
    boxes: list[_Box] = []
    opened: list[tuple[int, int] | None] = []  # of each open brace: where its box and its content begin
    for token in _BOXES.finditer(text):
        sign = token.group()
        if sign == "}":
            box = opened.pop() if opened else None
            if box:
                while boxes and boxes[-1][0] > box[0]:
                    boxes.pop()
                boxes.append((*box, token.end()))
        elif sign == "{":
            opened.append(None)
        elif sign.endswith("{") and len(sign) > 2:
            opened.append((token.start(), token.end()))
    return boxes


# Multiple choice ---------------------------------------------------------------------------------------------------


def _choice_marker(text: str) -> int:
    marker = _CHOICE_MARKER.search(text)
    if _letters_first(text):
        return 0
    return marker.start() if marker else -1


def _letters_first(text: str) -> bool:
    return letters_of(text.strip().partition("\n")[0]) is not None


def _choice(text: str) -> str | None:
    """The last marker that letters follow; without one, a text that is nothing but letters."""
    for tail in reversed(_CHOICE_MARKER.split(text)[1:] or [text]):
        letters = letters_of(_before_word_question(tail).strip().partition("\n")[0])
        if letters:
            return letters
    return None


# Scored answers ----------------------------------------------------------------------------------------------------


def _block(text: str) -> str | None:
    """What follows the last `####` that has something behind it; it may be a grid of several lines."""
    for tail in reversed(text.split("####")[1:]):
        if block := _before_word_question(tail).strip("# \t\r\n"):
            return block
    return None


_RULES: dict[str, tuple[Callable[[str], str | None], Callable[[str], int]]] = {
    "gsm8k": (_gsm8k, _gsm8k_marker),
    "math": (_math, _math_marker),
    "choice": (_choice, _choice_marker),
    SCORED: (_block, _gsm8k_marker),
}
"""How each rule reads an answer, and where the first place for one is (-1: nowhere)."""
RULES = tuple(name for name in _RULES if name != SCORED)
"""The built-in rules that hold an answer against another one."""


def _rule(name: str) -> tuple[Callable[[str], str | None], Callable[[str], int]]:
    # The built-in ones first: this is called for each of a run's responses.
    return _RULES[name] if name in _RULES else (_checked(name, plugins.RULES.get(name)), _no_marker)


def _no_marker(text: str) -> int:
    """Where a plug-in's rule has its first place for an answer is not known: nothing is cut off before it reads."""
    return -1


def _checked(name: str, rule: Callable[[str], str | None]) -> Callable[[str], str | None]:
    """A plug-in's rule. Its exceptions, and results that are no answer, are errors in one line."""

    def read(text: str) -> str | None:
        with plugins.RULES.guard(name):
            answer = rule(text)
        if answer is not None and not isinstance(answer, str):
            raise UserError(
                f"answer rule '{name}' gave an object of type {type(answer).__name__}: it must give a str or None"
            )
        return answer

    return read
