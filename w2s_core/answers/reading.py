"""Reading a final answer as one of the forms of `forms`. Untrusted text: nothing is evaluated, lengths are bounded."""

import re
from functools import lru_cache

from w2s_core.answers.characters import clean
from w2s_core.answers.forms import Answer, Quantity, Text
from w2s_core.answers.latex import plain
from w2s_core.answers.leaves import mark_money, within_edges
from w2s_core.answers.letters import letters_of
from w2s_core.answers.limits import MAX_ANSWER
from w2s_core.answers.number_task import of_number_task
from w2s_core.answers.numbers import decimal
from w2s_core.answers.structures import of_formula_task

SCORED = "reasoning_gym"
"""The rule under which a foreign scorer says what is right."""


@lru_cache(maxsize=50_000)
def canonical(answer: str, rule: str) -> Answer | None:
    r"""An answer's form; None for one that holds nothing readable.

    Numbers are exact (`0.50`, `1/2` and `\frac{1}{2}` are one form); two answers with equal forms are the same.
    """
    if _NUMBER.fullmatch(answer) and rule != "choice" and len(answer) <= MAX_ANSWER:
        number = decimal(answer.removeprefix("-"))
        return Answer((Quantity(-number if answer[0] == "-" else number),))
    if len(answer) > MAX_ANSWER:
        return Answer((Text(answer),))
    if rule == "choice":
        text = letters_of(answer) or answer.strip().casefold()
        return Answer((Text(text),)) if text else None
    if rule == "gsm8k" and _GROUPS.fullmatch(answer):
        return Answer((Quantity(int(answer.replace(",", ""))),))
    # most answers are plain ASCII, and need no cleaning
    text = answer if answer.isascii() and answer.isprintable() and "<" not in answer else clean(answer)
    text = within_edges(mark_money(plain(text.strip())))
    if not text:
        return None
    readings = of_number_task(text) if rule in ("gsm8k", SCORED) else of_formula_task(text)
    return Answer(tuple(dict.fromkeys(readings)))


_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_GROUPS = re.compile(r"-?[1-9][0-9]{0,2}(?:,[0-9]{3})+")
