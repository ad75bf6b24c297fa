"""Sampling by vLLM: the same interface, for models and numbers of questions that need its speed.

One engine is started for each base model and kept for the steps that share it; adapters come as LoRA requests. Prompts
go in as tokens, so they are those of training. Greedy answers are those of the transformers engine but for near-ties;
samples follow the same distribution with other draws, since vLLM has its own random numbers. So `engine` is in a
step's key.
"""

import gc
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from w2s_core.errors import UserError
from w2s_core.models import Located
from w2s_core.models.adapters import CONFIG, join_adapters
from w2s_core.prompting import encode_prompt
from w2s_core.sampling.interface import Generation, Progress, SamplingParams, missing, together
from w2s_core.sampling.unfinished import Place, Unfinished
from w2s_core.versions import vllm_version

_running: dict[str, Any] = {}
"""The one engine of this process, by what it was started with: two would not fit on a device."""

_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
_PROMPTS_AT_ONCE = 512
_CPU_TOKENS = 16_384


class VllmEngine:
    """A SamplingEngine over vLLM.

    Args:
        located: where base and adapters lie.
        tokenizer: the base's, as for training.
        device: "cpu" or "cuda".
        precision: float32 or bfloat16.
        tensor_parallel: GPUs that a model is spread over.
        memory: the share of each GPU's memory that vLLM may take.
        work: a folder for the adapter that several adapters are put together to.

    Raises:
        UserError: vLLM is not installed, cannot load the model, or the adapters are larger than it allows.
    """

    def __init__(
        self,
        located: Located,
        tokenizer: Any,
        *,
        device: str,
        precision: str = "float32",
        work: Path,
        tensor_parallel: int = 1,
        memory: float = 0.9,
    ) -> None:
        self._tokenizer = tokenizer
        adapter, rank = _one_adapter(located.adapters, work / "adapter")
        self._llm = _engine_for(located, device, precision, rank, tensor_parallel, memory)
        self._request = _lora_request(adapter) if adapter else None

    def generate(
        self,
        prompts: Sequence[tuple[str, str | Sequence[int]]],
        params: SamplingParams,
        *,
        prefix: str = "",
        progress: Progress | None = None,
        unfinished: Path | None = None,
        known: Sequence[Sequence[Generation]] = (),
    ) -> list[list[Generation]]:
        """See SamplingEngine. Raises UserError, naming the question, where the model's context is too short."""
        encoded = [encode_prompt(self._tokenizer, text, prefix) for _, text in prompts]
        self._check_lengths([name for name, _ in prompts], encoded, params.max_new_tokens)
        journal = Unfinished(unfinished)
        drawn = journal.read()
        left = missing(len(prompts), params.n, known, drawn)
        for places in _batches(list(left), _PROMPTS_AT_ONCE):
            batch = self._batch(
                {i: left[i] for i in places},
                [prompts[i][0] for i in places],
                [encoded[i] for i in places],
                params,
            )
            journal.add(batch)
            drawn |= batch
            if progress is not None:
                still = missing(len(prompts), params.n, known, drawn)
                total = len(prompts) * params.n
                progress(total - sum(map(len, still.values())), total, "responses")
        return together(len(prompts), params.n, known, drawn)

    def _batch(
        self,
        left: Mapping[int, Sequence[int]],
        names: list[str],
        encoded: list[list[int]],
        params: SamplingParams,
    ) -> dict[Place, Generation]:
        """The responses whose numbers are left, by prompt. vLLM draws sample i of a request with its seed plus i: so a
        request for the later ones, with the seed of the first of them, has the draws of a request for all n.
        """
        import vllm

        firsts = [min(numbers) for numbers in left.values()]
        sampling = [
            vllm.SamplingParams(
                n=max(numbers) - first + 1,
                temperature=params.temperature,
                max_tokens=params.max_new_tokens,
                stop=list(params.stop),
                stop_token_ids=list(params.end_tokens),
                repetition_penalty=params.repetition_penalty,
                top_k=params.top_k,
                top_p=params.top_p,
                min_p=params.min_p,
                seed=_seed(params.seed, name) + first,
            )
            for name, first, numbers in zip(names, firsts, left.values(), strict=True)
        ]
        inputs = [{"prompt_token_ids": ids} for ids in encoded]
        try:
            outputs = self._llm.generate(inputs, sampling, use_tqdm=False, lora_request=self._request)
        except (RuntimeError, ValueError, NotImplementedError) as error:
            shut_down()  # the engine's state is undefined after an error
            raise UserError(f"vLLM cannot sample from this model: {_one_line(error)}") from None
        return {
            (place, first + completion.index): _generation(completion)
            for place, first, output in zip(left, firsts, outputs, strict=True)
            for completion in output.outputs
        }

    def _check_lengths(self, names: list[str], encoded: list[list[int]], new: int) -> None:
        context = self._llm.llm_engine.model_config.max_model_len
        for name, ids in zip(names, encoded, strict=True):
            if len(ids) + new > context:
                raise UserError(
                    f"question '{name}': its prompt of {len(ids)} tokens and max_new_tokens = {new} exceed"
                    f" the model's context of {context} tokens"
                )


def shut_down() -> None:
    """End the running engine and free its memory, before a training or another base model."""
    while _running:
        _, llm = _running.popitem()
        llm.llm_engine.engine_core.shutdown()
        del llm
        gc.collect()
        _empty_cache()


def _empty_cache() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _engine_for(
    located: Located, device: str, precision: str, rank: int, tensor_parallel: int, memory: float
) -> Any:
    """The engine for a base model: the running one, or a new one."""
    started_with = (located.source, located.revision, located.code, device, precision)
    kind = json.dumps([*started_with, rank, tensor_parallel, memory])
    if kind in _running:
        return _running[kind]
    shut_down()
    vllm_version()  # raises one line where it is not installed
    os.environ.setdefault(
        "VLLM_ENABLE_V1_MULTIPROCESSING", "0"
    )  # in this process, where shut_down can end it
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    if device == "cpu":
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")
    import vllm

    lora = {"enable_lora": True, "max_loras": 1, "max_lora_rank": rank} if rank else {}
    # vLLM rewinds its random numbers for a prompt that is read in chunks, which generators on CPUs cannot do.
    unchunked = {"enable_chunked_prefill": False, "max_num_batched_tokens": _CPU_TOKENS}
    limits = unchunked if device == "cpu" else {"gpu_memory_utilization": memory}
    try:
        llm = vllm.LLM(
            model=located.source,
            revision=located.revision,
            dtype=precision,
            enforce_eager=device == "cpu",
            tensor_parallel_size=tensor_parallel,
            enable_prefix_caching=True,  # the demonstrations are read once
            trust_remote_code=located.code,
            seed=0,
            **lora,
            **limits,
        )
    except Exception as error:  # noqa: BLE001 - from vLLM, torch and the hub client alike
        raise UserError(f"{located.source}: vLLM cannot load the model: {_one_line(error)}") from None
    _running[kind] = llm
    return llm


def _one_line(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:300]


def _lora_request(adapter: Path) -> Any:
    from vllm.lora.request import LoRARequest

    name = hashlib.sha256((adapter / "adapter_model.safetensors").read_bytes()).hexdigest()
    return LoRARequest(name[:16], int(name[:8], 16) % (2**31 - 1) + 1, str(adapter))


def _one_adapter(adapters: Sequence[Path], out: Path) -> tuple[Path | None, int]:
    """The adapter that stands for all, and the least rank that vLLM has for it; (None, 0) without any."""
    if not adapters:
        return None, 0
    configs = [json.loads((folder / CONFIG).read_text()) for folder in adapters]
    total = sum(int(config["r"]) for config in configs)
    fitting = [rank for rank in _RANKS if rank >= total]
    if not fitting:
        raise UserError(
            f"vLLM takes adapters up to rank {_RANKS[-1]}, and these have {total} together: use transformers"
        )
    if len(adapters) == 1:
        return adapters[0], fitting[0]
    out.mkdir(parents=True, exist_ok=True)
    (out / CONFIG).write_text(json.dumps(join_adapters(adapters, out)))
    return out, fitting[0]


def _generation(completion: Any) -> Generation:
    finish: Literal["eos", "stop", "length"] = "length"
    if completion.finish_reason != "length":
        finish = "stop" if isinstance(completion.stop_reason, str) else "eos"
    return Generation(completion.text.strip(), len(completion.token_ids), finish)


def _seed(seed: int, name: str) -> int:
    """A question's own seed, so that neither order nor batch changes its draws."""
    return int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:4], "big") % (2**31)


def _batches(places: Sequence[int], size: int) -> Iterator[list[int]]:
    left = iter(places)
    while batch := list(islice(left, size)):
        yield batch
