"""Characters of untrusted text: what is no text is removed, and each sign has one form."""

import re
import unicodedata
from collections.abc import Mapping
from typing import Final

_PLAIN = bytes([ord("\t"), ord("\n"), *range(0x20, 0x7F)])
# begins with a letter of its own, so that a search skips from one to the next
_TOKEN_START = re.compile(r"<(?:[|｜]|/s>|(?:s|eos|bos|pad|unk|(?:start|end)_of_turn)>)")
_SPECIAL_TOKEN = re.compile(r"<[|｜][^<>|｜\n]{1,40}[|｜]>|</?s>|<(?:eos|bos|pad|unk|(?:start|end)_of_turn)>")
END_OF_TURN: Final = re.compile(
    r"<[|｜](?:im_end|endoftext|eot_id|eom_id|end|end_of_text|end▁of▁sentence)[|｜]>|</s>|<(?:eos|end_of_turn)>"
)
"""Tokens behind which another turn begins."""
_LINE_END = re.compile("\r\n?|[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x1f\x7f-\x84\x86-\x9f\xad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff"
    "\ufff9-\ufffb\U000e0000-\U000e007f]"
)


def clean(text: str) -> str:
    """The text without tokenizer's special tokens, control and format characters, its lines ended by newlines.

    A special token becomes a line end, since what stands behind it belongs to no sentence before it.
    """
    # most responses are plain, and deleting all plain bytes is the quickest way to see it
    if not text.isascii() or text.encode().translate(None, _PLAIN):
        text = _INVISIBLE.sub("", _LINE_END.sub("\n", text))
    return _SPECIAL_TOKEN.sub("\n", text) if has_special_token(text) else text


def has_special_token(text: str) -> bool:
    """Whether a tokenizer's special token may stand in the text."""
    return _TOKEN_START.search(text) is not None


SIGNS: Final[Mapping[int, str]] = {
    ord(sign): plain
    for sign, plain in zip(
        "−‐‑‒﹣－×·⋅∙÷⁄∕٬٫％≦≧⩽⩾≔º–—",
        ["-"] * 6 + ["*"] * 4 + ["/"] * 3 + [",", ".", "%", "≤", "≥", "≤", "≥", "=", "°", "-", "-"],
        strict=True,
    )
}  # fmt: skip
_SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹⁻"
_SUBSCRIPTS = "₀₁₂₃₄₅₆₇₈₉₋"
_RAISED, _LOWERED = re.compile(f"[{_SUPERSCRIPTS}]+"), re.compile(f"[{_SUBSCRIPTS}]+")
_LEVELLED = str.maketrans(_SUPERSCRIPTS + _SUBSCRIPTS, "0123456789-" * 2)
_RANGE = re.compile(r"(?<=\d)\s*[–—]\s*(?=\d)")


def plain_signs(text: str) -> str:
    """ASCII digits and signs in place of their many other forms: `٤٢`, `−5`, `27½`, `x²`.

    A dash between two numbers stays one (`10–15` is a range, and `10-15` a difference).
    """
    if text.isascii():
        return text
    text = _RANGE.sub("…", text).translate(SIGNS)
    text = _RAISED.sub(lambda run: f"^{{{run.group().translate(_LEVELLED)}}}", text)
    text = _LOWERED.sub(lambda run: f"_{{{run.group().translate(_LEVELLED)}}}", text)
    return "".join(plain_character(char) for char in text)


def plain_character(char: str) -> str:
    """A digit, a fraction, or a letter or sign of full width in ASCII; anything else as it is."""
    if char.isascii():
        return char
    if char.isdecimal():
        return str(unicodedata.decimal(char))
    plain = unicodedata.normalize("NFKC", char)
    if "⁄" in plain:
        return f" {plain.replace('⁄', '/')} "
    return plain if 0xFF00 < ord(char) < 0xFF5F else char
