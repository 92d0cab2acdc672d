#!/usr/bin/env python3
"""Makes tests/golden/models: tiny random checkpoints with the logits that transformers computes for them in fp32.

Each folder holds what `save_pretrained` writes (one is sharded, one is in bfloat16) and golden.json: token ids and the
logits of every position. `gguf/` holds the same llama and qwen2 checkpoints as GGUF files, the way llama.cpp's converter
writes them, and quantised rows with what the `gguf` package makes of them.

Run with the peers' environment (torch, transformers, gguf, numpy):  python tests/golden/make_models.py
"""
import json
import pathlib
import shutil

import gguf
import numpy as np
import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

HERE = pathlib.Path(__file__).parent / "models"
SIZES = dict(vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2, bos_token_id=1, eos_token_id=[2, 3], pad_token_id=0)
LLAMA3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=8192, rope_theta=500000.0)
TOKENS = 12


def randomise(model, seed):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator)
            # Norm weights around 1; the rest large enough that a wrong rotation or a lost bias moves the logits.
            parameter.copy_(1 + 0.2 * noise if "norm" in name else 0.25 * noise)


def save(model, name, seed, **options):
    folder = HERE / name
    randomise(model, seed)
    model.eval()
    if options.pop("bfloat16", False):
        model.to(torch.bfloat16)
    model.save_pretrained(folder, **options)
    model = type(model).from_pretrained(folder, dtype=torch.float32)
    tokens = torch.randint(4, SIZES["vocab_size"], (1, TOKENS), generator=torch.Generator().manual_seed(seed + 1))
    with torch.no_grad():
        logits = model(tokens).logits[0]
    # Rotary angles are relative: only tokens that stand far apart show a wrong scaling.
    spread = torch.arange(TOKENS)[None] * 340
    with torch.no_grad():
        spread_logits = model(tokens, position_ids=spread, attention_mask=torch.ones_like(tokens)).logits[0]
    assert (spread_logits[-1] - logits[-1]).abs().max() > 0.1
    round_all = lambda rows: [[float(f"{x:.7g}") for x in row] for row in rows.tolist()]
    golden = {"tokens": tokens[0].tolist(), "logits": round_all(logits), "spread": 340,
              "spread_logits": round_all(spread_logits[-2:])}
    (folder / "golden.json").write_text(json.dumps(golden, separators=(",", ":")) + "\n")
    return model


def permute(weights, heads):
    """llama.cpp's convert_hf_to_gguf.py, LlamaModel.permute."""
    return (weights.reshape(heads, 2, weights.shape[0] // heads // 2, *weights.shape[1:])
            .swapaxes(1, 2).reshape(weights.shape))


def write_gguf(model, path, arch):
    config = model.config
    writer = gguf.GGUFWriter(path, arch)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_eos_token_id(2)
    writer.add_bos_token_id(1)
    names = gguf.get_tensor_name_map(getattr(gguf.MODEL_ARCH, arch.upper()), config.num_hidden_layers)
    if config.rope_parameters["rope_type"] == "llama3":
        writer.add_tensor("rope_freqs.weight", llama3_divisors(config))
    for name, parameter in model.state_dict().items():
        if config.tie_word_embeddings and name == "lm_head.weight":
            continue
        data = parameter.numpy().astype(np.float32)
        if arch == "llama" and name.endswith(("q_proj.weight", "k_proj.weight")):
            data = permute(data, config.num_attention_heads if "q_proj" in name else config.num_key_value_heads)
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight", ".bias")), np.ascontiguousarray(data))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def llama3_divisors(config):
    """llama.cpp's convert_hf_to_gguf.py, LlamaModel.generate_extra_tensors."""
    rope = config.rope_parameters
    dim = config.hidden_size // config.num_attention_heads
    freqs = 1.0 / (rope["rope_theta"] ** (torch.arange(0, dim, 2, dtype=torch.float32) / dim))
    low = rope["original_max_position_embeddings"] / rope["low_freq_factor"]
    high = rope["original_max_position_embeddings"] / rope["high_freq_factor"]
    out = []
    for freq in freqs:
        wavelength = 2 * np.pi / freq
        if wavelength < high:
            out.append(1)
        elif wavelength > low:
            out.append(rope["factor"])
        else:
            smooth = (rope["original_max_position_embeddings"] / wavelength - rope["low_freq_factor"]) / (
                rope["high_freq_factor"] - rope["low_freq_factor"])
            out.append(1 / ((1 - smooth) / rope["factor"] + smooth))
    return np.array(out, dtype=np.float32)


def write_blocks(path):
    """Rows of 64 values in each quantised type as bytes, and as the `gguf` package reads them (fp32 bits)."""
    values = np.random.default_rng(5).normal(size=(3, 64)).astype(np.float32)
    out = {}
    for kind in (gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.Q4_0, gguf.GGMLQuantizationType.Q4_1):
        data = gguf.quantize(values, kind)
        out[kind.name] = {"bytes": data.tobytes().hex(),
                          "float_bits": gguf.dequantize(data, kind).view(np.uint32).ravel().tolist()}
    path.write_text(json.dumps(out, separators=(",", ":")) + "\n")


def main():
    shutil.rmtree(HERE, ignore_errors=True)
    transformers.logging.set_verbosity_error()
    (HERE / "gguf").mkdir(parents=True)
    llama = save(LlamaForCausalLM(LlamaConfig(**SIZES, max_position_embeddings=4096, rope_parameters=LLAMA3,
                                              rms_norm_eps=1e-5, tie_word_embeddings=True)), "llama3", 11)
    save(LlamaForCausalLM(LlamaConfig(**SIZES, max_position_embeddings=4096, attention_bias=True,
                                      rope_parameters=dict(rope_type="linear", factor=2.0, rope_theta=10000.0))),
         "llama_sharded", 22, max_shard_size="30KB")
    qwen2 = save(Qwen2ForCausalLM(Qwen2Config(**SIZES, max_position_embeddings=4096, tie_word_embeddings=True,
                                              rope_parameters=dict(rope_type="default", rope_theta=1000000.0))),
                 "qwen2", 33)
    save(Qwen3ForCausalLM(Qwen3Config(**SIZES, head_dim=16, max_position_embeddings=4096,
                                      rope_parameters=dict(rope_type="default", rope_theta=1000000.0))),
         "qwen3", 44, bfloat16=True)
    write_gguf(llama, HERE / "gguf" / "llama3.gguf", "llama")
    write_gguf(qwen2, HERE / "gguf" / "qwen2.gguf", "qwen2")
    write_blocks(HERE / "gguf" / "blocks.json")


if __name__ == "__main__":
    main()
