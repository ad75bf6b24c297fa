r"""Formulas of final answers: a tree for each.

The reader knows what final answers hold (numbers, letters, fractions, powers, roots, logarithms, trigonometric
functions, factorials, binomials, absolute values) and refuses everything else, words above all: `10 mod 7` is no
product of letters. Nothing is evaluated here: `values` computes exact fractions, and `algebra` the rest.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final

from w2s_core.answers.limits import MAX_ALGEBRA

Tree = tuple[Any, ...]
"""`("number", Fraction)`, `("symbol", name)`, or an operation with its operands: `("add", left, right)`."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


FUNCTIONS: Final = _words(
    "sin cos tan cot sec csc sinh cosh tanh arcsin arccos arctan asin acos atan log ln lg exp"
)
_GREEK = _words(
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho sigma tau "
    "upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega ell"
)
_NAMED = _words("overline bar vec hat widehat tilde overrightarrow angle triangle")
_NOT_PRODUCTS = _words(
    "mod and or is if in of to by no on at an as am pm it us we he me my do go so up the not yes odd min max gcd lcm "
    "per inf sup let all any one two six ten day cup foot ft cm mm km kg lb oz hr sec ml mph red few"
)
_LIKE_A_WORD = re.compile(r"[a-z][aeiou][a-z]|[A-Z]+[a-z]+|[a-z]+[A-Z]+\w*")
LETTERS_OF_A_PRODUCT = 3
"""More letters in a row are a word."""
MAX_DEPTH = 60

_TOKEN = re.compile(
    r"\s*(?:(?P<number>[1-9]\d{0,2}(?:,\d{3})+(?![\d,])(?:\.\d+)?|\d+(?:\.\d*)?|\.\d+)|(?P<command>\\[A-Za-z]+)|(?P<letters>[A-Za-z]+)"
    r"|(?P<sign>\\[{}]|[-+*/^_!()\[\]{}|π∞°%']))"
)


class NotAFormula(Exception):
    """The text is none that this reader knows."""


@lru_cache(maxsize=8192)
def read(text: str) -> Tree | None:
    """The tree of a formula as `latex.plain` leaves it; None for any other text."""
    if not text or len(text) > MAX_ALGEBRA:
        return None
    try:
        return _Reader(_tokens(text)).whole()
    except (NotAFormula, RecursionError):
        return None


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    place = 0
    text = text.rstrip()
    while place < len(text):
        token = _TOKEN.match(text, place)
        if not token or not token.lastgroup:
            raise NotAFormula
        place = token.end()
        kind, content = token.lastgroup, token[token.lastgroup]
        tokens += _letters(content) if kind == "letters" else [_Token(kind, content)]
    return tokens


def _letters(word: str) -> list[_Token]:
    """A function's name, or a product of letters; words are refused."""
    if word in FUNCTIONS or word in ("sqrt", "frac"):
        return [_Token("command", f"\\{word}")]
    for name in sorted(FUNCTIONS, key=len, reverse=True):
        if len(name) > 2 and word.startswith(name) and len(word) == len(name) + 1:  # `sinx`
            return [_Token("command", f"\\{name}"), _Token("letter", word[-1])]
    if len(word) > LETTERS_OF_A_PRODUCT or word.lower() in _NOT_PRODUCTS or _LIKE_A_WORD.fullmatch(word):
        raise NotAFormula
    if len(word) > 1 and word.isupper():  # a segment or an angle by its points
        return [_Token("letter", word)]
    return [_Token("letter", letter) for letter in word]


class _Reader:
    """Recursive descent over tokens: sums of products of powers."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._place = 0
        self._depth = 0

    def whole(self) -> Tree:
        tree = self._sum()
        if self._place < len(self._tokens):
            raise NotAFormula
        return tree

    def _peek(self) -> str:
        return self._tokens[self._place].text if self._place < len(self._tokens) else ""

    def _kind(self) -> str:
        return self._tokens[self._place].kind if self._place < len(self._tokens) else ""

    def _next(self) -> _Token:
        if self._place >= len(self._tokens):
            raise NotAFormula
        self._place += 1
        return self._tokens[self._place - 1]

    def _expect(self, text: str) -> None:
        if self._next().text != text:
            raise NotAFormula

    def _take(self, *texts: str) -> str:
        if self._peek() in texts:
            return self._next().text
        return ""

    def _sum(self) -> Tree:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise NotAFormula
        tree = self._signed()
        while sign := self._take("+", "-"):
            right = self._product()
            tree = ("add", tree, right if sign == "+" else ("negative", right))
        self._depth -= 1
        return tree

    def _signed(self) -> Tree:
        sign = self._take("+", "-")
        tree = self._product()
        return ("negative", tree) if sign == "-" else tree

    def _product(self) -> Tree:
        tree = self._factor(first=True)
        while True:
            if self._take("*"):
                tree = ("multiply", tree, self._signed_factor())
            elif self._take("/"):
                tree = ("divide", tree, self._signed_factor())
            elif self._starts_factor():
                tree = self._juxtaposed(tree)
            else:
                return tree

    def _signed_factor(self) -> Tree:
        if self._take("-"):
            return ("negative", self._factor(first=True))
        return self._factor(first=True)

    def _starts_factor(self) -> bool:
        # a number behind something else without a sign (`x 2`, `3 4`) is no product that anyone writes
        if self._peek() in ("\\rfloor", "\\rceil"):
            return False
        return self._kind() in ("letter", "command") or self._peek() in ("(", "[", "{", "π", "∞")

    def _juxtaposed(self, left: Tree) -> Tree:
        fraction = self._peek() == "\\frac"
        right = self._factor(first=False)
        if fraction and left[0] == "number" and left[1].denominator == 1 and _is_proper(right):
            return ("add", left, right)  # a mixed number
        return ("multiply", left, right)

    def _factor(self, first: bool) -> Tree:
        kind = self._kind()
        if kind == "number" and not first:
            raise NotAFormula
        return self._raised(self._primary())

    def _raised(self, tree: Tree) -> Tree:
        while True:
            if self._take("!"):
                tree = ("factorial", tree)
            elif self._take("°"):
                tree = ("degrees", tree)
            elif self._take("^"):
                return self._raised(("power", tree, self._exponent()))
            else:
                return tree

    def _exponent(self) -> Tree:
        if self._take("-"):
            return ("negative", self._exponent())
        # `x^23` is x² beside a 3 in LaTeX; who writes it means x to the 23rd, and so it is read
        base = self._primary()
        return ("power", base, self._exponent()) if self._take("^") else base

    def _primary(self) -> Tree:
        token = self._next()
        if token.kind == "number":
            return ("number", Fraction(token.text.replace(",", "")))
        if token.kind == "letter":
            return self._symbol(token.text)
        if token.kind == "command":
            return self._command(token.text[1:])
        return self._signs(token.text)

    def _signs(self, sign: str) -> Tree:
        if sign in ("π", "∞"):
            return ("symbol", sign)
        closing = {"(": ")", "[": "]", "{": "}", "|": "|"}.get(sign)
        if not closing:
            raise NotAFormula
        inner = self._sum()
        self._expect(closing)
        return ("absolute", inner) if sign == "|" else inner

    def _symbol(self, name: str) -> Tree:
        if name in "fgh" and self._peek() in ("(", "["):
            raise NotAFormula  # a function of which nothing is known
        return ("symbol", name + self._subscript())

    def _subscript(self) -> str:
        if not self._take("_"):
            return ""
        if not self._take("{"):
            return f"_{self._next().text}"
        return f"_{self._until_brace()}"

    def _until_brace(self) -> str:
        name, depth = "", 1
        while True:
            text = self._next().text
            depth += (text == "{") - (text == "}")
            if not depth:
                return name
            name += text

    def _command(self, name: str) -> Tree:
        if name == "frac":
            return ("divide", self._group(), self._group())
        if name == "binom":
            return ("binomial", self._group(), self._group())
        if name == "sqrt":
            return self._root()
        if name in FUNCTIONS:
            return self._function(name)
        if name in ("lfloor", "lceil"):
            inner = self._sum()
            self._expect(f"\\r{name[1:]}")
            return (name[1:], inner)
        if name in _GREEK:
            return ("symbol", f"{name}{self._subscript()}")
        if name in _NAMED:
            return ("symbol", f"{name}({self._name()})")
        raise NotAFormula

    def _name(self) -> str:
        if self._take("{"):
            return self._until_brace()
        return self._next().text

    def _group(self) -> Tree:
        if self._take("{"):
            inner = self._sum()
            self._expect("}")
            return inner
        return self._primary()

    def _root(self) -> Tree:
        degree: Tree = ("number", Fraction(2))
        if self._take("["):
            degree = self._sum()
            self._expect("]")
        return ("root", self._group(), degree)

    def _function(self, name: str) -> Tree:
        base: Tree | None = None
        exponent: Tree | None = None
        while sign := self._take("_", "^"):
            if sign == "_":
                base = self._group()
            elif self._peek() == "{":
                exponent = self._group()
            else:
                exponent = self._exponent()
        if base is not None and name != "log":
            raise NotAFormula
        argument = self._argument()
        if exponent == ("negative", ("number", Fraction(1))) and name in ("sin", "cos", "tan"):
            return ("function", f"arc{name}", argument)
        tree = ("log", argument, base) if base is not None else ("function", name, argument)
        return tree if exponent is None else ("power", tree, exponent)

    def _argument(self) -> Tree:
        r"""`(x+1)`, `{x}`, `2x`, `\frac{1}{2}`: up to the next sign, bracket or function."""
        if self._peek() in ("(", "[", "{", "|"):
            return self._raised(self._primary())
        tree = self._raised(self._primary())
        while (
            self._kind() == "letter" or self._peek() == "π" or self._peek()[1:] in {*_GREEK, "frac", "sqrt"}
        ):
            tree = ("multiply", tree, self._raised(self._primary()))
        return tree


def _is_proper(tree: Tree) -> bool:
    """Whether a tree is a fraction of two whole numbers below 1."""
    if tree[0] != "divide" or tree[1][0] != "number" or tree[2][0] != "number":
        return False
    return bool(tree[1][1] < tree[2][1])


# What a tree holds -------------------------------------------------------------------------------------------------


def nodes(tree: Tree) -> list[Tree]:
    """All parts of a tree, itself included."""
    parts = [tree]
    for operand in tree[1:]:
        if isinstance(operand, tuple):
            parts += nodes(operand)
    return parts


def symbols(tree: Tree) -> set[str]:
    """The names of its letters, constants too."""
    return {part[1] for part in nodes(tree) if part[0] == "symbol"}
