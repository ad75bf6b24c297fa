"""What each engine can sample, so that a setting is refused when the graph is planned. Imports no engine.

A step's key holds the settings as they were written. An engine that replaced one of them silently would store other
samples under that key, and one that refused it while sampling would do so after the trainings before it.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, get_args

from w2s_core.engine import Handle
from w2s_core.errors import UserError

Setting = Literal["temperature", "samples", "lora_r"]
SETTINGS = frozenset(get_args(Setting))


@dataclass(frozen=True)
class Limits:
    """The least and the greatest value of each setting, with what the engine does beyond them."""

    temperature: tuple[float, float]
    below: str
    above: str
    samples: int | None = None
    lora_r: int | None = None


LIMITS: Mapping[str, Limits] = {
    # logits / temperature is computed in float32. It overflows for a lower one, and the last token of the vocabulary
    # would be drawn; a higher one is infinite in float32.
    "transformers": Limits((1e-30, 1e30), "divides by it in float32", "divides by it in float32"),
    # vllm.SamplingParams raises a temperature between 0 and 0.01 to 0.01 with a warning, and refuses one above 2 or
    # more samples than VLLM_MAX_N_SEQUENCES, which is 16384 unless the environment says otherwise.
    "vllm": Limits((0.01, 2.0), "samples at 0.01 instead", "refuses it", samples=16_384, lora_r=512),
}


@lru_cache  # a study's cells ask about the same few values, hundreds of thousands of times
def fault(engine: str, setting: Setting, value: float) -> str | None:
    """What is wrong with a value for an engine, in words that follow the field's name; None if nothing is."""
    limits = LIMITS.get(engine)
    if limits is None:
        return None
    if setting == "temperature":
        return _temperature_fault(engine, limits, value)
    most = getattr(limits, setting)
    if most is None or value <= most:
        return None
    return f"should be at most {most} with engine '{engine}' (given: {value})"


def _temperature_fault(engine: str, limits: Limits, value: float) -> str | None:
    least, greatest = limits.temperature
    if value == 0 or least <= value <= greatest:  # 0 is greedy decoding, which divides by nothing
        return None
    action = limits.below if value < least else limits.above
    return (
        f"should be from {least:g} to {greatest:g} with engine '{engine}', which {action} (given: {value:g})"
    )


def faults(engine: str, section: Any) -> Iterator[tuple[tuple[str, ...], str]]:
    """The place and the fault of each setting in an experiment, or a section of it, that the engine cannot take.

    Settings are known by their names, in any section: that covers the sections of plug-ins that use the same names.
    """
    # One sample is drawn greedily, and none not at all: the temperature beside them is not used.
    fields = _fields(section)
    greedy = isinstance(fields.get("samples"), int) and fields["samples"] <= 1
    for name, value in fields.items():
        if _fields(value):
            yield from (((name, *place), words) for place, words in faults(engine, value))
        if name == "lora_dora" and value and engine == "vllm":
            yield (name,), "cannot be had with engine 'vllm', which has no DoRA: take engine: transformers"
        if name not in SETTINGS or not isinstance(value, int | float):
            continue
        words = fault(engine, name, value)
        if words and not (name == "temperature" and greedy):
            yield (name,), words


def _fields(section: Any) -> dict[str, Any]:
    """The fields of a section, or of plain data; none of any other value."""
    if type(section) is dict:
        return section
    # `isinstance` takes ten times as long to ask pydantic, and a study's cells have a million fields.
    return section.__dict__ if hasattr(section, "model_fields_set") else {}


def check_sampling(
    engine: str, model: Handle, *, n: int, temperature: float, generation: Collection[str] = ()
) -> None:
    """Check one set of responses of a recipe; `generation`: settings of the base that are applied.

    Raises:
        UserError: the engine cannot draw so many samples, at this temperature, or from so large an adapter; or it
            applies the settings in another order than transformers.
    """
    if engine == "vllm" and {"top_p", "min_p"} <= set(generation):
        raise UserError(
            "generation_config: vLLM applies min_p before top_p, and the base's settings mean it behind: name one of "
            "the two, or take engine: transformers"
        )
    if complaint := fault(engine, "temperature", temperature):
        raise UserError(f"temperature {complaint}")
    if complaint := fault(engine, "samples", n):
        raise UserError(f"samples {complaint}")
    limits = LIMITS.get(engine)
    if limits and limits.lora_r and (complaint := fault(engine, "lora_r", adapter_rank(model))):
        raise UserError(f"the adapters of a model together have a rank that {complaint}")


def adapter_rank(model: Handle) -> int:
    """The rank of a planned model's adapters together: trainings that stand on each other add theirs up, down to one of
    all weights.
    """
    rank, current = 0, model
    while True:
        settings = current.params.get("settings")
        if isinstance(settings, dict) and settings.get("tuning") == "full":
            return rank
        if isinstance(settings, dict) and isinstance(settings.get("lora_r"), int):
            rank += settings["lora_r"]
        trained_from = current.inputs.get("model")
        if not isinstance(trained_from, Handle):
            return rank
        current = trained_from
