r"""LaTeX of final answers without its layout: `\dfrac`, `\left(`, `\text{ and }`, `\,` and the like have one form each.

Signs of relations and sets become one character each (`\geq`, `\ge`, `>=` are `≥`), so that the reader of forms meets
every sign in one spelling.
"""

import re
from typing import Final

from w2s_core.answers.characters import plain_signs

_WORD_END = r"(?![A-Za-z])"
_WRAPPERS = (
    r"text\w*|math(?:rm|bf|it|sf|tt|cal|bb|normal)|[mh]box|boldsymbol|bm|operatorname\*?|boxed|fbox|emph|underline|"
    r"bold|rm|bf"
)
_TABLE: Final[tuple[tuple[re.Pattern[str], str], ...]] = tuple(
    (re.compile(pattern), plain)
    for pattern, plain in [
        (rf"\\[dtc]frac{_WORD_END}", r"\\frac"),
        (rf"\\(?:left|right|[bB]igg?[lrm]?){_WORD_END}\.?", ""),
        (r"\{,\}", ","),
        # `\!` stands between groups of digits, sometimes with a blank behind it
        (r"(?<!\\)\\!\s*", ""),
        (r"(?<!\\)\\[()\[\]]", ""),
        # a control space; at the end its blank may be stripped already
        (r"(?<!\\)\\(?:[,;:> ]|$)|~", " "),
        (rf"\\(?:q?quad|(?:display|text|script)style|limits|hspace\{{[^{{}}]*\}}){_WORD_END}", " "),
        (r"\\frac\s*(\d)\s*(\d)", r"\\frac{\1}{\2}"),
        (r"\\frac\s*(\d)\s*\{", r"\\frac{\1}{"),
        (r"(\\frac\{[^{}]*\})\s*(\w)", r"\1{\2}"),
        (r"\\sqrt\s*(\w)", r"\\sqrt{\1}"),
        (r"√\s*(\d+|\w)", r"\\sqrt{\1}"),
        (r"√\s*(?=[({])", r"\\sqrt"),
        (rf"\^\s*(?:\\circ|\{{\s*\\circ\s*\}}){_WORD_END}|\\deg(?:ree)?{_WORD_END}", "°"),
        (r"\\(?:text|mbox|textrm|mathrm)\{\s*(?:,\s*)?(?:and|or)\s*\}", ", "),
        (rf"\\(?:leq?|leqslant|leqq){_WORD_END}|<=|=<", "≤"),
        (rf"\\(?:geq?|geqslant|geqq){_WORD_END}|>=|=>", "≥"),
        (rf"\\neq?{_WORD_END}|\\not\s*=|(?<![\d)])!=", "≠"),
        (rf"\\lt{_WORD_END}", "<"),
        (rf"\\gt{_WORD_END}", ">"),
        (rf"\\(?:varnothing|emptyset){_WORD_END}|\\\{{\s*\\\}}", "∅"),
        (rf"\\infty{_WORD_END}", "∞"),
        (rf"\\cup{_WORD_END}", "∪"),
        (rf"\\in{_WORD_END}", "∈"),
        (rf"\\pm{_WORD_END}", "±"),
        (rf"\\(?:cdotp?|times|ast){_WORD_END}", "*"),
        (rf"\\div{_WORD_END}", "/"),
        (rf"\\[lr]?vert{_WORD_END}|\\mid{_WORD_END}", "|"),
        (rf"\\lbrace{_WORD_END}", r"\\{"),
        (rf"\\rbrace{_WORD_END}", r"\\}"),
        (rf"\\[lc]?dots{_WORD_END}|…(?!\d)", "..."),
        (rf"\\pi{_WORD_END}|(?<![A-Za-z\\])pi{_WORD_END}", "π"),
        (r"\\\\\[[\w.]*\]", r"\\\\"),
    ]
)
_PYTHON_POWER = re.compile(r"(?<=[\w)}])(?:\*\*| \*\* )(?=[\w({\\-])")
_WRAPPED = re.compile(rf"\\(?:{_WRAPPERS})\s*\{{([^{{}}]*)\}}")
_WRAPPER = re.compile(rf"\\(?:{_WRAPPERS})\s*(?=\{{)")
_SINGLE = re.compile(r"([_^])\{(\w)\}(?!\w)")
_SIGN = re.compile(r"[\\^_~<>=!*√{]|pi\b")
WRAPPERS_DEEP = 3
"""How deep `\\text{\\textbf{...}}` is unwrapped."""


def plain(answer: str) -> str:
    """The answer with one spelling for each sign and without layout. What it means is left to `forms`."""
    text = plain_signs(answer)
    return _plain_commands(text) if _SIGN.search(text) else text


def _plain_commands(text: str) -> str:
    if "**" in text:
        # a power stands between two operands, and marks of bold type around words
        text = _PYTHON_POWER.sub("^", text).replace("**", "")
    for pattern, sign in _TABLE:
        text = pattern.sub(sign, text)
    for _ in range(WRAPPERS_DEEP):
        unwrapped = _WRAPPED.sub(r" \1 ", text)
        if unwrapped == text:
            break
        text = unwrapped
    # what is left holds braces itself (`\\boxed{\\frac{1}{2}}`): its own braces group, and need no command
    return _SINGLE.sub(r"\1\2", _WRAPPER.sub("", text))
