"""An independent solver of mini stories: it reads the question's text and keeps count, sentence by sentence."""

import re

NUMBER = r"(\d+)"


def answer(question: str) -> int:
    """The answer to a story, computed from nothing but its text."""
    *told, asked = re.findall(r"[^.?]+[.?]", question)
    hero = told[0].split()[0]
    own = 0
    others: dict[str, int] = {}
    for sentence in (one.strip() for one in told):
        if had := re.fullmatch(rf"(\w+) had {NUMBER} (?:boxes of {NUMBER} )?\w+\.", sentence):
            amount = int(had[2]) * int(had[3] or 1)
            if had[1] == hero:
                own = amount
            else:
                others[had[1]] = amount
        elif compared := re.fullmatch(rf"(\w+) had {NUMBER} (more than|times as many as) {hero}\.", sentence):
            by = int(compared[2])
            others[compared[1]] = own + by if compared[3] == "more than" else own * by
        else:
            own = _event(own, sentence)
    if "together" in asked:
        return own + sum(others.values())
    person = re.search(r"did (\w+) have", asked)
    assert person, asked
    return own if person[1] == hero else others[person[1]]


def _event(own: int, sentence: str) -> int:
    first, *rest = (int(n) for n in re.findall(NUMBER, sentence)) if re.search(NUMBER, sentence) else (0,)
    words = set(re.findall(r"[a-z]+", sentence.lower()))
    if "doubled" in words:
        return own * 2
    if "tripled" in words:
        return own * 3
    if "half" in words:
        assert own % 2 == 0, sentence
        return own // 2
    if "found" in words:
        return own + first
    if {"lost", "lent"} & words:
        return own - first
    assert rest, sentence
    amount = first * rest[0]
    return own - amount if {"she", "he"} & words and "gave" in words else own + amount
