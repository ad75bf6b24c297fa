"""Letters of a multiple choice."""

import re
import unicodedata

from w2s_core.answers.limits import MAX_ANSWER

_WRAPPED = re.compile(r"\\(?:text\w*|math(?:rm|bf|sf|it)|mbox|boxed|fbox|boldsymbol)(?=\{)")
_AROUND = re.compile(r"\\[()\[\]]|\\[,;!]|[{}$*`\"'‘’‚“”„«»「」]")
_SEVERAL = re.compile(r"\(?[A-Z]\)?(?:(?:\s*[,;&/]\s*|\s+and\s+|\s*,\s*and\s+)\(?[A-Z]\)?)+")
_GLUED = re.compile(r"[A-Z]{2,6}")
_EDGES = " \t\r\n.:"
# What may follow a letter that is the whole answer. A bare blank is no break: in "A car", A is an article.
_BREAK = r"(?=\s*$|[)\]]|[.:;,](?:\s|$)|\s*[-–—]\s|\s+(?:because|since|as|due|given|which|so)\b)"
_BEFORE_BREAK = re.compile(_BREAK)
_ONE_LETTER = re.compile(r"[\s(\[]*([A-Za-z])" + _BREAK)


def letters_of(tail: str) -> str | None:
    """`(B)`, `B. Paris`, `B because ...`, `A, C`, `AC`, `A and C` as sorted letters; None without letters in front."""
    text = tail[:MAX_ANSWER]
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    text = _AROUND.sub("", _WRAPPED.sub("", text)).strip(_EDGES)
    several = _SEVERAL.match(text)
    if several and _BEFORE_BREAK.match(text, several.end()):
        return "".join(sorted(set(re.findall(r"\b[A-Z]\b", several.group()))))
    inner = text.strip("()")
    if _GLUED.fullmatch(inner) and list(inner) == sorted(set(inner)):
        return inner
    letter = _ONE_LETTER.match(text)
    return letter.group(1).upper() if letter else None
