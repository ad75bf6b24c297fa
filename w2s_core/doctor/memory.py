"""How large a model is, and how much memory its training and sampling take: from headers and configs, never tensors.

Sizes are in bytes. Estimates are for rows of one length; tests/doctor holds each part against what a real
model takes. Sources of the formulas: LoRA (Hu et al. 2106.09685), AdamW (Loshchilov and Hutter 1711.05101),
activations as counted by Korthikanti et al. 2205.05198 (section 4) for what PyTorch keeps of a gated layer.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from w2s_core.engine import Handle
from w2s_core.errors import UserError
from w2s_core.experiment import Experiment
from w2s_core.files import read_json_object
from w2s_core.load_errors import reason
from w2s_core.training.settings import TARGETS

FLOAT32, HALF = 4, 2
"""Bytes of a number."""
FOUR_BITS = (4 + 0.127) / 8
"""Bytes of a weight in 4 bits with its share of scales, which are rounded too (2305.14314, section 3)."""
MAX_LAYERS = 500
"""More layers than any model has: a config that says so is damaged, and would take hours to build."""
PREFILL_TOKENS = 2_048
"""Tokens of prompts that are read at once (`w2s_core.sampling.decoding`)."""
TILE_TOKENS, TILE_WORDS = 4_096, 32_768
"""TRL takes the likelihoods of SFT and DPO in tiles of tokens by words (its kernels/chunked_logprob.py)."""
MOMENTS = {"adamw_torch_fused": 2, "adafactor": 0, "adagrad": 1, "rmsprop": 1, "sgd": 0}
"""What an optimiser keeps for each weight; Adafactor's sums over rows and columns are next to nothing."""
TIED = ("lm_head.weight", "embed_tokens.weight")


@dataclass(frozen=True)
class Shape:
    """What of a config decides memory: a decoder of `layers` equal layers with gated MLPs, as Llama has them."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocabulary: int
    context: int | None

    @classmethod
    def of(cls, config: Mapping[str, Any], place: object) -> "Shape":
        """Read a config.json; `place` is named in errors. What a config leaves out has transformers' usual default:
        as many key heads as heads, and a head's size of hidden / heads.

        Raises UserError for a field that is missing or no positive whole number, and for mixtures of experts.
        """
        inner = config.get("text_config")
        fields = inner if isinstance(inner, dict) else config
        for name in ("num_local_experts", "num_experts", "n_routed_experts"):
            if fields.get(name):
                raise UserError(f"{place}: a mixture of experts, whose memory is not estimated here")

        def number(name: str, default: int | None = None) -> int:
            value = fields.get(name)
            value = default if value is None else value
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise UserError(f"{place}: '{name}' should be a positive whole number (given: {value!r:.40})")
            return value

        heads, hidden = number("num_attention_heads"), number("hidden_size")
        layers = number("num_hidden_layers")
        if layers > MAX_LAYERS:
            raise UserError(f"{place}: 'num_hidden_layers' is {layers}: no model has more than {MAX_LAYERS}")
        return cls(
            layers=layers,
            hidden=hidden,
            heads=heads,
            kv_heads=number("num_key_value_heads", heads),
            head_dim=number("head_dim", max(1, hidden // heads)),
            intermediate=number("intermediate_size"),
            vocabulary=number("vocab_size"),
            context=None
            if fields.get("max_position_embeddings") is None
            else number("max_position_embeddings"),
        )


@dataclass(frozen=True)
class Weights:
    """What a folder's safetensors hold: parameters, their bytes on disk, and the names of the tensors."""

    parameters: int
    size: int
    names: frozenset[str]


@dataclass(frozen=True)
class Trained:
    """What a training changes, and by which optimiser: an adapter, or all weights."""

    rank: int
    targets: tuple[str, ...] = TARGETS
    dora: bool = False
    full: bool = False
    optimizer: str = "adamw_torch_fused"

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Trained":
        """As a step's settings say; what is the default is left out there."""
        return cls(
            int(settings["lora_r"]),
            tuple(settings.get("lora_targets", TARGETS)),
            bool(settings.get("lora_dora")),
            settings.get("tuning") == "full",
            settings.get("optimizer", cls.optimizer),
        )

    def count(self, shape: "Shape", parameters: int) -> int:
        """The parameters that are trained and stored, of a model of so many."""
        return parameters if self.full else lora_parameters(shape, self.rank, self.targets, dora=self.dora)


@dataclass(frozen=True)
class Training:
    """One training of a recipe.

    Attributes:
        base: the field that names the base model which the trained one stands on.
        method: "sft", "dpo", "orpo", "cpo", "simpo", or the name of a recipe's own step.
        stored: what the files of the model that it makes hold: all weights or none, and its adapters, the newest last.
        shown: solved questions that stand before some of those it reads.
    """

    base: str
    method: str
    settings: dict[str, Any]
    stored: tuple[Trained, ...]
    shown: int = 0


@dataclass(frozen=True)
class Sampling:
    """One sampling of a recipe.

    Attributes:
        base: the field that names the base model which the sampled one stands on.
        shots: demonstrations before each question.
        responses: a question.
        tokens: of a response, at most.
        split: of the questions; None where that cannot be told.
    """

    base: str
    shots: int
    responses: int
    tokens: int
    split: str | None


def read_config(folder: Path) -> dict[str, Any]:
    """The content of config.json. Raises UserError where it is missing or no JSON object."""
    if not (folder / "config.json").exists():
        raise UserError(f"{folder}: not a model, config.json is missing")
    return read_json_object(folder / "config.json")


def read_weights(folder: Path, config: Mapping[str, Any]) -> Weights:
    """Count the parameters of a checkpoint from the headers of the files that transformers would load.

    A matrix that config ties to the embeddings counts once even where a file holds both, as does the loaded model;
    rotary frequencies, which old checkpoints hold, are no parameters.

    Raises UserError for a missing, damaged or cut off file.
    """
    tensors: dict[str, int] = {}
    size = 0
    for path in weight_files(folder):
        tensors |= {name: math.prod(shape) for name, shape in _shapes(path).items()}
        size += path.stat().st_size
    counted = {name: count for name, count in tensors.items() if not name.endswith("rotary_emb.inv_freq")}
    ends = {end for end in TIED for name in counted if name.endswith(end)}
    if len(ends) == 2 and _tied(config):
        counted = {name: count for name, count in counted.items() if not name.endswith(TIED[0])}
    return Weights(sum(counted.values()), size, frozenset(tensors))


def _tied(config: Mapping[str, Any]) -> bool:
    """Whether the output matrix is the embeddings'; where a config is silent, a file with both has two."""
    return bool(config.get("tie_word_embeddings", False))


def weight_files(folder: Path) -> list[Path]:
    """The safetensors that transformers loads: model.safetensors, or the shards of its index.

    Raises UserError where there is neither, or where a shard is missing.
    """
    whole, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if whole.is_file():
        return [whole]
    if not index.is_file():
        raise UserError(f"{folder}: no model.safetensors, nor model.safetensors.index.json with its shards")
    try:
        placed = read_json_object(index)["weight_map"]
        shards = sorted(set(placed.values()))
        if not shards or any(not isinstance(one, str) or Path(one).name != one for one in shards):
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{index}: expected {{'weight_map': {{tensor: file in this folder}}}}") from None
    if missing := [one for one in shards if not (folder / one).is_file()]:
        raise UserError(f"{folder}: {len(missing)} of {len(shards)} shards missing, {missing[0]} among them")
    return [folder / one for one in shards]


def _shapes(path: Path) -> dict[str, list[int]]:
    """The shapes of a file's tensors by name. The library reads the header alone, and holds it against the file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{path}: not a safetensors file, or a damaged one ({reason(error)}): fetch or save it again"
        ) from None


def count_parameters(folder: Path) -> int:
    """The parameters of the model that config.json describes, built without memory (torch's meta device).

    Raises UserError where transformers knows no such model, or would need code of the checkpoint.
    """
    Shape.of(read_config(folder), folder / "config.json")  # a hostile number of layers would take hours
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        config = AutoConfig.from_pretrained(str(folder), trust_remote_code=False)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except Exception as error:  # noqa: BLE001 - from json, transformers and torch alike
        cause = " ".join(str(error).split())[:200]
        raise UserError(
            f"{folder}: its config describes no model that transformers can build: {cause}"
        ) from None
    model.tie_weights()
    return sum(parameter.numel() for parameter in model.parameters())


def lora_parameters(shape: Shape, rank: int, targets: Iterable[str] = TARGETS, *, dora: bool = False) -> int:
    """Parameters of one adapter: rank x (inputs + outputs) of each layer that it is on (Hu et al. 2106.09685, section
    4.1), and with DoRA a norm for each output.
    """
    sides = [_sides(shape, name) for name in targets]
    return shape.layers * sum(rank * (inputs + outputs) + dora * outputs for inputs, outputs in sides)


def _sides(shape: Shape, name: str) -> tuple[int, int]:
    """Inputs and outputs of one of a layer's projections; of one with another name, those of the widest."""
    hidden, wide = shape.hidden, shape.intermediate
    query, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    known = {
        "q_proj": (hidden, query),
        "k_proj": (hidden, keys),
        "v_proj": (hidden, keys),
        "o_proj": (query, hidden),
        "down_proj": (wide, hidden),
    }
    return known.get(name, (hidden, wide))


def _projections(shape: Shape) -> int:
    """Parameters of a layer's seven projections."""
    return sum(inputs * outputs for inputs, outputs in (_sides(shape, name) for name in TARGETS))


def kv_cache(shape: Shape, tokens: int, width: int) -> int:
    """Bytes of keys and values of `tokens` tokens, over all rows: 2 x layers x key heads x head size x width each."""
    return 2 * shape.layers * shape.kv_heads * shape.head_dim * width * tokens


def sampling_memory(
    shape: Shape, parameters: int, *, rows: int, own: int, shared: int, width: int
) -> dict[str, int]:
    """Bytes while `rows` responses of `own` tokens each are drawn, after `shared` tokens of prompts in all.

    draw: the logits of a step, in float32 also scaled and as shares, and the shares' running sum in float64.
    """
    logits = rows * shape.vocabulary * (width + 2 * FLOAT32 + 8)
    reading = PREFILL_TOKENS * (4 * shape.hidden + 3 * shape.intermediate) * width
    return {
        "weights": parameters * width,
        "KV cache": kv_cache(shape, rows * own + shared, width),
        "draw": logits + reading,
    }


@dataclass(frozen=True)
class Held:
    """How weights are held: bytes of a number where they are frozen, whether their projections are rounded to 4 bits,
    over how many devices they are spread, and whether DPO keeps a copy of all of them beside those that it trains.
    """

    width: int
    four_bits: bool = False
    spread: int = 1
    copied: bool = False

    def size(self, shape: Shape, parameters: int) -> int:
        """Bytes on each device. Spread weights are put together a layer at a time, while the next is on its way."""
        projections = shape.layers * _projections(shape)
        if self.four_bits:
            return round(projections * FOUR_BITS) + max(0, parameters - projections) * self.width
        together = 0 if self.spread == 1 else 2 * _projections(shape)
        return (parameters // self.spread + together) * self.width


def training_memory(
    shape: Shape,
    parameters: int,
    *,
    method: str,
    trained: Trained,
    rows: int,
    tokens: int,
    gpu: bool,
    held: Held,
) -> dict[str, int]:
    """Bytes of a training step of `rows` rows (SFT) or pairs (other methods) of `tokens` tokens a side.

    What is trained, its gradients and the optimiser's moments are float32 everywhere, and spread as the weights are.
    The reference of DPO on an adapter is the same weights with the adapter off, so it adds nothing.

    activations: what the backward pass needs. On a CPU all layers' (see `_kept`); on a GPU each layer's input, and one
    layer's activations, which are computed again (gradient checkpointing).

    loss: tiles of likelihoods for SFT and DPO, all logits for the other methods, with their gradients.
    """
    count = trained.count(shape, parameters) // held.spread
    read, kept = rows * tokens * (1 if method == "sft" else 2), _kept(shape, trained)
    if gpu:
        activations = read * (shape.layers * shape.hidden * HALF + kept * (HALF + FLOAT32))
    else:
        activations = read * shape.layers * kept * FLOAT32
    sizes = {
        "gradients": count * FLOAT32,
        "optimiser": MOMENTS[trained.optimizer] * count * FLOAT32,
        "activations": activations + 2 * read * shape.hidden * FLOAT32,
        "loss": _loss(shape, method, read, gpu),
    }
    if not trained.full:
        return {"weights": held.size(shape, parameters), "adapter": count * FLOAT32} | sizes
    whole = replace(held, width=FLOAT32).size(shape, parameters)
    sizes |= {"reference": whole} if held.copied else {}
    # autocast keeps a copy of each matrix in half the width
    sizes |= {"casts": held.size(shape, parameters)} if gpu else {}
    # They come as activations and loss go; those of the embeddings are there twice while they are added up.
    gradients = sizes["gradients"] + shape.vocabulary * shape.hidden * FLOAT32
    sizes["gradients"] = max(0, gradients - sizes["activations"] - sizes["loss"])
    return {"weights": whole} | sizes


def _kept(shape: Shape, trained: Trained) -> int:
    """Numbers a token that a layer's backward pass needs: both norms' inputs and outputs (4 x hidden), queries, keys
    and values as attention reads them and its output (4 x heads x head size), four of the gated MLP's width, and the
    adapters' inner ones; with DoRA also two of each adapted layer's outputs.
    """
    shared = 4 * shape.hidden + 4 * shape.heads * shape.head_dim + 4 * shape.intermediate
    if trained.full:
        return shared
    outputs = sum(_sides(shape, name)[1] for name in trained.targets)
    return shared + len(trained.targets) * trained.rank + trained.dora * 2 * outputs


def _loss(shape: Shape, method: str, tokens: int, gpu: bool) -> int:
    """The output layer. SFT and DPO: TRL's buffer, as wide as a tile whatever
    the vocabulary, and on a CPU, where no kernel works in place, seven float32 copies of what is used of it. Others:
    logits, log shares and gradients.
    """
    if method not in ("sft", "dpo"):
        return tokens * shape.vocabulary * (4 * HALF if gpu else 3 * FLOAT32)
    rows = min(tokens, TILE_TOKENS)
    buffer = rows * TILE_WORDS * (HALF if gpu else FLOAT32)
    return buffer if gpu else buffer + 7 * rows * min(shape.vocabulary, TILE_WORDS) * FLOAT32


def fitting_rows(needs: Iterable[tuple[int, int]], available: int) -> int | None:
    """The largest of the row counts of `needs` [(rows, bytes)] that fits; None where not even the smallest does."""
    return max((rows for rows, size in needs if size <= available), default=None)


def planned(experiment: Experiment) -> tuple[list[Training], list[Sampling]]:
    """The trainings and samplings of an experiment's recipe, from the graph that it gives for placeholders.

    Raises:
        UserError: what the recipe raises, such as for 4-bit weights without bitsandbytes.
    """
    from w2s_core.engine.step import topological

    trainings, samplings = [], []
    for handle in topological(placeholder_graph(experiment)):
        if handle.name == "base_model" or "model" not in handle.inputs:
            continue
        base, stored = _lineage(handle)
        if base is None:  # a model that a recipe's own step makes from nothing
            continue
        if "settings" in handle.params:
            method = str(handle.params.get("method", handle.name))
            source = handle.inputs.get("questions")
            shown = source.params.get("shown", 0) if source else 0
            trainings.append(Training(base, method, handle.params["settings"], stored, shown))
        elif "max_new_tokens" in handle.params:
            samplings.append(_sampling(handle, base))
    return trainings, samplings


def placeholder_graph(experiment: Experiment) -> list[Handle]:
    """The targets of the recipe, with placeholders for questions, gold answers and base models."""
    from w2s_core.plugins import RECIPES
    from w2s_core.recipes.recipe import Given
    from w2s_core.steps.data import base_model, gold, questions

    # Which engine samples, and how, makes no difference to the graph's form; vLLM's version and what the bases ship
    # may not be known here.
    experiment = experiment.model_copy(update={"engine": "transformers", "generation_config": ()})
    recipe = RECIPES.get(experiment.recipe)
    splits = (*recipe.splits, *experiment.evaluation.splits)
    given = Given(
        {split: questions(source={}, split=split, digest="") for split in splits},
        {split: gold(source={}, split=split, digest="") for split in splits},
        {field: base_model(ref=field) for field in recipe.models},
        "placeholder",
    )
    return [target.handle for target in recipe.targets(experiment, given).values()]


def _sampling(handle: Handle, base: str) -> Sampling:
    demonstrations = handle.inputs.get("demonstrations")
    shots = demonstrations.params.get("shots", 0) if demonstrations else 0
    source = handle.inputs.get("questions")
    split = source.params.get("split") if source else None
    params = handle.params
    return Sampling(base, int(shots), int(params.get("n", 1)), int(params["max_new_tokens"]), split)


def _lineage(handle: Handle) -> tuple[str | None, tuple[Trained, ...]]:
    """The field of the base that a model stands on, and what its files hold (see `Training`)."""
    stored: list[Trained] = []
    while "model" in handle.inputs:
        if "settings" in handle.params and not (stored and stored[-1].full):
            stored.append(Trained.of(handle.params["settings"]))
        handle = handle.inputs["model"]
    return handle.params["ref"] if handle.name == "base_model" else None, tuple(reversed(stored))
