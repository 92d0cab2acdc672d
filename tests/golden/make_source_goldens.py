#!/usr/bin/env python3
"""Writes tests/golden/model_sources.json: changes to tests/golden/models/tiny-chat whose files then name one fact in
several places or in another spelling, and the log-probabilities that transformers computes from each folder in fp32.

A case says what is done to the folder: `config` (keys of config.json), `without` (keys that are taken out of it) and
`weights` (a function below, which tests/runtime/model/hf_folder_test.cpp has too). `logprobs` are those of tokens 1, 2,
... of TOKENS. A case without them is one where transformers makes weights up or fails.

Run with the peers' environment (torch, transformers, safetensors):  python tests/golden/make_source_goldens.py
"""
import json
import pathlib
import shutil
import tempfile

import torch
import transformers
from safetensors.torch import load_file, save_file

HERE = pathlib.Path(__file__).parent
TINY = HERE / "models/tiny-chat"
TOKENS = [(37 * i + 11) % 313 for i in range(48)]
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"


def ramp(count):
    return ((torch.arange(count) * 7) % 11 - 5).float() / 20


def another_head(weights):
    return {**weights, HEAD: weights[EMBEDDING].flip(0).contiguous()}


def same_head(weights):
    return {**weights, HEAD: weights[EMBEDDING].clone()}


def no_prefix(weights):
    return {name.removeprefix("model."): tensor for name, tensor in weights.items()}


def no_prefix_with_head(weights):
    return no_prefix(another_head(weights))


def mlp_biases(weights):
    biases = {name.replace(".weight", ".bias"): ramp(tensor.shape[0]) for name, tensor in weights.items() if ".mlp." in name}
    return {**weights, **biases}


def buffers(weights):
    return {**weights, "model.rotary_emb.inv_freq": torch.ones(4)}


def orig_mod(weights):
    return {"_orig_mod." + name: tensor for name, tensor in weights.items()}


def rope(**parameters):
    return {"rope_parameters": {"rope_theta": 10000.0, **parameters}}


def old_rope(**parameters):
    return dict(config={"rope_scaling": parameters}, without=["rope_parameters"])


YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=128)
LLAMA3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0)
CASES = {
    "as it is": {},
    "tied, and another head in the file": dict(weights=another_head),
    "tied, and the same head in the file": dict(weights=same_head),
    "not tied, and a head in the file": dict(config={"tie_word_embeddings": False}, weights=another_head),
    "not tied, and no head in the file": dict(config={"tie_word_embeddings": False}),
    "silent about the tie, and no head in the file": dict(without=["tie_word_embeddings"]),
    "names without model.": dict(weights=no_prefix),
    "names without model., saved from the bare decoder": dict(config={"architectures": ["LlamaModel"]}, weights=no_prefix),
    "names without model., and a head": dict(config={"tie_word_embeddings": False}, weights=no_prefix_with_head),
    "names of a compiled model": dict(weights=orig_mod),
    "buffers in the file": dict(weights=buffers),
    "mlp_bias": dict(config={"mlp_bias": True}, weights=mlp_biases),
    "mlp_bias without biases": dict(config={"mlp_bias": True}),
    "heads of a silent size": dict(without=["head_dim"]),
    "theta in rope_parameters": dict(config=rope(rope_theta=500000.0)),
    "theta at the top": dict(config={"rope_theta": 500000.0}, without=["rope_parameters"]),
    "no theta at all": dict(without=["rope_parameters"]),
    "two thetas that agree": dict(config={"rope_theta": 10000.0}),
    "two thetas that differ": dict(config={"rope_theta": 500000.0}),
    "rope_scaling beside rope_parameters": dict(config={"rope_scaling": dict(rope_type="linear", factor=4.0)}),
    "rope_scaling that says what rope_parameters says": dict(
        config={**rope(rope_type="linear", factor=4.0), "rope_scaling": dict(type="linear", factor=4.0)}),
    "empty rope_scaling beside rope_parameters": dict(config={**rope(rope_theta=500000.0), "rope_scaling": {}}),
    "linear": dict(config=rope(rope_type="linear", factor=4.0)),
    "linear, the old spelling": old_rope(type="linear", factor=4.0),
    "llama3 whose first context is max_position_embeddings": dict(config=rope(**LLAMA3)),
    "llama3 whose first context stands at the top": dict(
        config={**rope(**LLAMA3, original_max_position_embeddings=256), "original_max_position_embeddings": 64}),
    "yarn": dict(config=rope(**YARN)),
    "yarn, the old spelling": old_rope(type="yarn", factor=4.0, original_max_position_embeddings=128),
    "yarn whose first context is max_position_embeddings": dict(config=rope(rope_type="yarn", factor=8.0)),
    "yarn with an attention_factor": dict(config=rope(**YARN, attention_factor=1.5)),
    "yarn with mscale and mscale_all_dim": dict(config=rope(**YARN, mscale=1.0, mscale_all_dim=0.6)),
    "yarn with mscale alone": dict(config=rope(**YARN, mscale=0.7)),
    "yarn with its own bounds": dict(config=rope(**YARN, beta_fast=8.0, beta_slow=4.0)),
    "yarn with bounds that are not whole": dict(config=rope(**YARN, truncate=False)),
    "yarn that stretches nothing": dict(config=rope(rope_type="yarn", factor=1.0, original_max_position_embeddings=512)),
    "a pad that is no token": dict(config={"pad_token_id": -1}),
    "an end token outside the vocabulary": dict(config={"eos_token_id": [2, 400]}),
}


def logprobs(folder):
    model, info = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    if info["missing_keys"]:
        return None
    with torch.no_grad():
        rows = torch.log_softmax(model.eval()(torch.tensor([TOKENS])).logits[0].double(), -1)
    return [float(f"{rows[i, token]:.7g}") for i, token in enumerate(TOKENS[1:])]


def main():
    transformers.logging.set_verbosity_error()
    cases = []
    for name, change in CASES.items():
        with tempfile.TemporaryDirectory() as scratch:
            folder = pathlib.Path(scratch) / "model"
            shutil.copytree(TINY, folder)
            config = json.loads((folder / "config.json").read_text())
            for key in change.get("without", []):
                del config[key]
            config.update(change.get("config", {}))
            (folder / "config.json").write_text(json.dumps(config))
            weights = load_file(TINY / "model.safetensors")
            save_file(change.get("weights", dict)(weights), folder / "model.safetensors", metadata={"format": "pt"})
            found = logprobs(folder)
        case = {"name": name, **change}
        if "weights" in case:
            case["weights"] = case["weights"].__name__
        if found:
            case["logprobs"] = found
        cases.append(case)
        print(f"{name}: {sum(found):.4f}" if found else f"{name}: weights made up")
    document = {"transformers": transformers.__version__, "tokens": TOKENS, "cases": cases}
    text = json.dumps(document, separators=(",", ":")).replace('{"name"', '\n{"name"')
    (HERE / "model_sources.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
