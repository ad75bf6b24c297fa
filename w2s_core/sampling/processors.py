"""The settings of `SamplingParams` that change logits, as transformers' own processors."""

from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from w2s_core.sampling.interface import SamplingParams


def logits_processors(params: SamplingParams) -> LogitsProcessorList:
    """What `model.generate` applies, in its order, the temperature included; empty where logits stay as they are."""
    penalty, cuts = LogitsProcessorList(), LogitsProcessorList()
    if params.repetition_penalty != 1:
        penalty.append(RepetitionPenaltyLogitsProcessor(float(params.repetition_penalty)))
    if params.top_k:
        cuts.append(TopKLogitsWarper(params.top_k))
    if params.top_p < 1:
        cuts.append(TopPLogitsWarper(params.top_p))
    if params.min_p:
        cuts.append(MinPLogitsWarper(params.min_p))
    if not params.temperature or not (penalty or cuts):
        return penalty
    return LogitsProcessorList([*penalty, TemperatureLogitsWarper(float(params.temperature)), *cuts])
