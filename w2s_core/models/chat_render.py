"""A tokenizer's chat template, run by transformers' sandboxed Jinja in a process whose time and memory end.

Templates come with checkpoints. The sandbox keeps them from this machine's files, and nothing keeps them from a loop
without an end.
"""

import datetime
import json
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from w2s_core.errors import UserError

CPU_S = 5
MEMORY = 512 * 2**20
LONGEST = 100_000
"""Characters of a rendered conversation; its texts are a line each."""
WAIT_S = 600.0
REFUSED = 2
TODAY = datetime.date(2024, 7, 26)
"""What a template that asks for the date gets: a prompt that changed with the day would be another in each step."""


def render(
    template: str, special_tokens: Mapping[str, str], conversations: Sequence[Sequence[Mapping[str, str]]]
) -> list[str]:
    """The conversations as the template writes them; one that ends with a question opens its answer.

    A template that can think is told not to (`enable_thinking=False`).

    Raises:
        UserError: the template is wrong, refuses the conversation, or takes too long.
    """
    return list(_render(json.dumps([template, dict(special_tokens), list(map(list, conversations))])))


@lru_cache(maxsize=64)
def _render(job: str) -> tuple[str, ...]:
    command = [sys.executable, "-m", "w2s_core.models.chat_render"]
    try:
        done = subprocess.run(
            command, input=job, capture_output=True, text=True, check=False, timeout=WAIT_S, encoding="utf-8"
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"the chat template runs for more than {WAIT_S:.0f} seconds") from None
    if done.returncode == REFUSED:
        raise UserError(json.loads(done.stdout))
    if done.returncode:
        raise UserError(f"the chat template takes more than {CPU_S} seconds or {MEMORY >> 20} MB")
    return tuple(json.loads(done.stdout))


def _main() -> int:
    from transformers.utils.chat_template_utils import render_jinja_template

    template, special_tokens, conversations = json.load(sys.stdin)
    _limit()
    options: dict[str, Any] = {**special_tokens, "enable_thinking": False, "strftime_now": TODAY.strftime}
    try:
        texts = [
            render_jinja_template(
                [messages],
                chat_template=template,
                add_generation_prompt=messages[-1]["role"] == "user",
                **options,
            )[0][0]
            for messages in conversations
        ]
        if max(map(len, texts)) > LONGEST:
            raise ValueError(f"it writes more than {LONGEST:,} characters around a few words")
    except MemoryError:
        return 1
    except Exception as error:  # noqa: BLE001 - from Jinja, or whatever a template's expressions raise
        words = " ".join(str(error).split())[:200] or type(error).__name__
        sys.stdout.write(json.dumps(f"the chat template cannot write these messages: {words}"))
        return REFUSED
    sys.stdout.write(json.dumps(texts))
    return 0


def _limit() -> None:
    """Bounds for what follows: the imports before it have taken their share."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime) + 1 + CPU_S
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY + _data(), most))


def _data() -> int:
    """Bytes of data that this process has. Its peak is no measure: on Linux it begins as that of the process which
    started this one, gigabytes where that holds a model.
    """
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[5])
    except (OSError, ValueError, IndexError):  # not Linux
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return pages * resource.getpagesize()


if __name__ == "__main__":
    sys.exit(_main())
