r"""Final answers: where they stand in a response. What makes two of them the same is in `answer_forms`.

A response is untrusted text. Nothing here evaluates it, raises on it, or takes more than linear time over it.

Three rules say where the answer stands:

* `gsm8k`: the rest of the line after the last `####`.
* `math`: what follows the last `The answer is`; without one, the content of the last `\boxed{}`.
* `choice`: the letter or letters after either marker, or a response that is nothing but letters.

Further rules are plug-ins (`w2s_core.plugins.RULES`): trusted code of the user's, run without a time limit.

A model that does not stop goes on with a question of its own: the text counts up to the next `Question` only.
"""

import re
from collections.abc import Callable
from enum import StrEnum

from w2s_core import plugins
from w2s_core.answers.forms import MAX_ANSWER, letters_of
from w2s_core.errors import UserError


class Verdict(StrEnum):
    """What grading one answer gives. `timed_out`: not decided within the limits, neither right nor wrong."""

    RIGHT = "right"
    WRONG = "wrong"
    UNPARSED = "unparsed"
    TIMED_OUT = "timed_out"


def extract(response: str, rule: str) -> str | None:
    """The final answer of a response as it is written, or None where there is none.

    Raises:
        UserError: a rule that does not exist.
    """
    found = _rule(rule)(_before_next_question(response))
    if found is None or len(found) > MAX_ANSWER or _says_nothing(found):
        return None
    return found


def _says_nothing(text: str) -> bool:
    """Whether there is only punctuation and white space, a control character or a no-break space included."""
    return all(one in _NOTHING or one.isspace() for one in text)


def check_rule(rule: str) -> None:
    """Raise UserError if there is no answer rule of this name."""
    _rule(rule)


_NOTHING = frozenset("$%*.`:#\\[](){}")
_NEXT_QUESTION = re.compile(r"(?:^|\n)[ \t*#>]*Question\b")
_STARTS_AS_NUMBER = re.compile(r"[-+−–$€£¥₹(.\\ ]{0,4}\w?[\d½¼¾]")
_BOXES = re.compile(r"\\(?:boxed|fbox)[ \t\n]*\{|\\.|[{}]", re.DOTALL)
_BARE_BOX = re.compile(r"\\boxed[ \t]+([^\s${}\\]+)")
_NEXT_SENTENCE = re.compile(r"\.\s+[A-Z]")
_MARKER = re.compile(r"[Tt]he (?:final )?answer is\b:?")
_CHOICE_MARKER = re.compile(r"####|[Aa]nswer(?: is)?\s?:?(?!\w)|\\boxed")


def _before_next_question(response: str) -> str:
    if "Question" not in response:
        return response
    found = _NEXT_QUESTION.search(response)
    return response[: found.start()] if found else response


def _gsm8k(text: str) -> str | None:
    """The last marker that has something behind it: a response cut off inside a repetition keeps its answer."""
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
    line = text[start : end if newline < 0 else newline].partition("Question")[0].strip("# \t\r")
    if line or newline < 0:
        return line
    below = text[newline : min(end, newline + 2 * MAX_ANSWER)].strip().partition("\n")[0].rstrip()
    return below if _STARTS_AS_NUMBER.match(below) else ""


def _math(text: str) -> str | None:
    for tail in reversed(_MARKER.split(text)[1:]):
        block = _leading_block(tail.partition("Question")[0])
        if not _says_nothing(block):
            inside = _last_box(block)
            return block if inside is None else inside
    return _last_box(text)


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


def _last_box(text: str) -> str | None:
    r"""The content of the `\boxed{}` that closes last, in one pass over the text; the outermost of nested ones."""
    if "boxed" not in text and "fbox" not in text:
        return None
    content: tuple[int, int] | None = None
    opened: list[int] = []  # where the content of each open brace starts if it is a box's, else -1
    for token in _BOXES.finditer(text):
        sign = token.group()
        if sign == "}":
            start = opened.pop() if opened else -1
            content = (start, token.start()) if start >= 0 else content
        elif sign == "{":
            opened.append(-1)
        elif sign.endswith("{") and len(sign) > 2:
            opened.append(token.end())
    if content:
        return text[slice(*content)].strip() or None
    bare = _BARE_BOX.findall(text)
    return bare[-1] if bare else None


def _choice(text: str) -> str | None:
    """The last marker that letters follow; without one, a text that is nothing but letters."""
    for tail in reversed(_CHOICE_MARKER.split(text)[1:] or [text]):
        letters = letters_of(tail.partition("Question")[0].strip().partition("\n")[0])
        if letters:
            return letters
    return None


_RULES: dict[str, Callable[[str], str | None]] = {"gsm8k": _gsm8k, "math": _math, "choice": _choice}
RULES = tuple(_RULES)
"""The built-in rules."""


def _rule(name: str) -> Callable[[str], str | None]:
    # The built-in ones first: this is called for each of a run's responses.
    return _RULES[name] if name in _RULES else _checked(name, plugins.RULES.get(name))


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
