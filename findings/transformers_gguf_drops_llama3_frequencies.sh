#!/usr/bin/env bash
# Guess:     A Llama 3.1, 3.2 or 3.3 in GGUF, opened by from_pretrained(gguf_file=...), is the model: an element that it
#            cannot take over would be an error or a warning, as a tensor that no layer wants is elsewhere.
# Behaviour: These models divide their low rotary frequencies by up to 8 or 32 (rope_type "llama3"). llama.cpp stores the
#            divisors as a tensor, rope_freqs.weight, and no field. transformers leaves the tensor out, says rope_type
#            "default", and reports no missing, unexpected or mismatched key. Logits near the start are close; far positions
#            are another model's. save_pretrained then writes the wrong configuration for good.
#            A field does not help either: "rope.scaling.type" with "rope.scaling.factor" is left out just so.
# Version:   transformers 5.19.0, accelerate 1.15.0, gguf 0.19.0
# Source:    transformers/integrations/ggml.py, GGUF_CONFIG_MAPPING ("llama" has no entry of scaling), and
#            modeling_gguf_pytorch_utils.py, load_gguf_checkpoint (tensors without a name in the model are passed over).
#            The tensor: github.com/ggml-org/llama.cpp/pull/8676.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 transformers==5.19.0 accelerate==1.15.0 gguf==0.19.0
cd "$folder"
export HF_HOME="$folder/cache" HF_HUB_OFFLINE=1
"$folder/venv/bin/python" -I - <<'PY'
import logging
import math
import sys
from importlib.metadata import version

import gguf
import numpy
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

BASE, HEADS, WIDTH = 500_000.0, 4, 16  # of a head
SCALING = {
    "rope_type": "llama3", "rope_theta": BASE, "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
NAMES = [
    ("model.layers.", "blk."), ("model.embed_tokens.", "token_embd."), ("model.norm.", "output_norm."),
    ("self_attn.q_proj", "attn_q"), ("self_attn.k_proj", "attn_k"), ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"), ("mlp.gate_proj", "ffn_gate"), ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"), ("input_layernorm", "attn_norm"), ("post_attention_layernorm", "ffn_norm"),
]


def divisor(i):
    wavelength = 2 * math.pi * BASE ** (2 * i / WIDTH)
    kept = min(max((8192 / wavelength - 1.0) / 3.0, 0.0), 1.0)  # 1 for short waves, 0 for long ones
    return 1 / ((1 - kept) / 32.0 + kept)


def write(path, model, *, as_fields):
    config = model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(WIDTH)
    writer.add_rope_freq_base(BASE)
    writer.add_vocab_size(config.vocab_size)
    if as_fields:
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(32.0)
    else:
        writer.add_tensor("rope_freqs.weight", numpy.array([divisor(i) for i in range(WIDTH // 2)], dtype="float32"))
    for name, weight in model.state_dict().items():
        if "q_proj" in name or "k_proj" in name:  # llama.cpp rotates neighbours
            weight = weight.reshape(HEADS, 2, -1, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)
        for theirs, here in NAMES:
            name = name.replace(theirs, here)
        writer.add_tensor("output.weight" if name == "lm_head.weight" else name, weight.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


warned = []
logging.getLogger("transformers").addHandler(type("Keep", (logging.Handler,), {"emit": lambda _, r: warned.append(r.getMessage())})())
torch.manual_seed(0)
model = LlamaForCausalLM(LlamaConfig(
    vocab_size=128, hidden_size=HEADS * WIDTH, intermediate_size=96, num_hidden_layers=2, num_attention_heads=HEADS,
    max_position_embeddings=131_072, rope_parameters=SCALING, initializer_range=0.2, tie_word_embeddings=False,
)).eval()
print("transformers", version("transformers"), "gguf", version("gguf"))
print("divisors", [round(divisor(i), 2) for i in range(WIDTH // 2)])
ids = torch.arange(64)[None] % 128
seen = {}
for as_fields in (False, True):
    write("model.gguf", model, as_fields=as_fields)
    opened, info = AutoModelForCausalLM.from_pretrained(
        ".", gguf_file="model.gguf", dtype=torch.float32, output_loading_info=True
    )
    said = sum(len(keys) for keys in info.values()) + len(warned)
    seen["fields" if as_fields else "tensor"] = (opened.config.rope_parameters["rope_type"], said)
    print("scaling stored as", "fields:" if as_fields else "a tensor:", opened.config.rope_parameters, "| keys and warnings:", said)
    if as_fields:
        continue
    with torch.no_grad():
        for apart in (1, 16, 1_600):
            far = torch.arange(64)[None] * apart
            expected, logits = (m(ids, position_ids=far).logits for m in (model, opened))
            change = float((logits - expected).norm() / expected.norm())
            seen[apart] = change
            print(f"tokens up to {int(far[0, -1]):>6} apart: logits differ by {change:.1%}")
        opened.config.rope_parameters = SCALING
        opened.model.rotary_emb = type(opened.model.rotary_emb)(opened.config)
        seen["mended"] = float((opened(ids, position_ids=far).logits - model(ids, position_ids=far).logits).abs().max())
        print("with the scaling put back: at most", f"{seen['mended']:.0e}")
if not (seen["tensor"] == seen["fields"] == ("default", 0) and seen[1] < 0.05 < 0.2 < seen[16] and seen["mended"] < 1e-4):
    sys.exit("CHANGED: the frequencies are carried over, or their loss is told now")
print("as stated: the file's rotary frequencies are dropped without a word")
PY
