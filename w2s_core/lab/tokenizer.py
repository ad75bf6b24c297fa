"""The lab's tokenizer: one token a word, a digit, a sign; the space before a word belongs to it.

Every token carries its own leading space, so that decoding is plain concatenation and text survives the round trip
exactly. No token spans the boundary between a prompt and a completion, since the completion starts with a space.
"""

import re
from typing import Any

from w2s_core.lab.domains import DOMAINS

PATTERN = r" ?[A-Za-z]+| ?[0-9]| ?#+| ?[^\sA-Za-z0-9#]|\s"
EOS, PAD, UNKNOWN = "<eos>", "<pad>", "<unk>"


def vocabulary(task: str) -> list[str]:
    """All tokens of a task's texts in the order of their ids: special ones, signs, digits, words (spaced and bare)."""
    signs = ["\n", " ", ".", ",", ":", "?", " +", " -", " *", " /", " =", "####", " ####"]
    digits = [f"{space}{digit}" for space in (" ", "") for digit in range(10)]
    domain = DOMAINS[task]
    fields = re.compile(r"\{\w*\}")
    words = {word for text in domain.texts for word in re.findall(r"[A-Za-z]+", fields.sub(" ", text))}
    known = sorted({"Question", "Answer"} | domain.names | words)
    return [EOS, PAD, UNKNOWN, *signs, *digits, *(f" {word}" for word in known), *known]


def build_tokenizer(context: int, task: str = "mini") -> Any:
    """A fast tokenizer with EOS and PAD and no BOS.

    Args:
        context: the longest text that the models take, in tokens.
        task: whose texts it reads.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokens = vocabulary(task)
    core = Tokenizer(models.WordLevel({token: i for i, token in enumerate(tokens)}, unk_token=UNKNOWN))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(PATTERN), behavior="isolated")
    core.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token=EOS,
        pad_token=PAD,
        unk_token=UNKNOWN,
        clean_up_tokenization_spaces=False,
        model_max_length=context,
        padding_side="left",
    )
