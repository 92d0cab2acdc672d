#!/usr/bin/env python3
"""Makes tests/golden/models/score_*: tiny random sequence-classification checkpoints of one label, with the scores that
transformers computes for them in fp32.

golden.json of each: `texts`, token ids of three texts of different lengths; `scores`, what the model says of each (the
head at the last token, as transformers pools it); `token_scores`, the head at every token of each. `ended`: texts with
end tokens, and what the model says of each, alone in its batch, where its padding is that end token.

Run with the peers' environment (torch, transformers):  python tests/golden/make_score_models.py
What Millrace wrote is held against the same numbers by:  python tests/golden/make_score_models.py --check NAME FOLDER
"""
import json
import pathlib
import shutil
import sys

import torch
import transformers
from transformers import (AutoModelForSequenceClassification, LlamaConfig, LlamaForSequenceClassification, Qwen2Config,
                          Qwen2ForSequenceClassification, Qwen3Config, Qwen3ForSequenceClassification)

HERE = pathlib.Path(__file__).parent / "models"
SIZES = dict(vocab_size=32, hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=4,
             num_key_value_heads=2, bos_token_id=1, eos_token_id=2, pad_token_id=0, max_position_embeddings=128, num_labels=1)
LENGTHS = (9, 4, 7)


def scores_of(model, texts):
    padded = torch.tensor([text + [0] * (max(LENGTHS) - len(text)) for text in texts])
    seen = torch.tensor([[1] * len(text) + [0] * (max(LENGTHS) - len(text)) for text in texts])
    with torch.no_grad():
        pooled = model(padded, attention_mask=seen).logits[:, 0].tolist()
        tokens = [model.score(model.model(torch.tensor([text])).last_hidden_state)[0, :, 0].tolist() for text in texts]
    return pooled, tokens


def ended_scores(model, texts):
    end = SIZES["eos_token_id"]
    ended = [texts[0] + [end], texts[1] + [end, end], texts[2][:3] + [end] + texts[2][3:], [5, end, end], [end, end, end]]
    pad, model.config.pad_token_id = model.config.pad_token_id, end
    with torch.no_grad():
        scores = [model(torch.tensor([text])).logits[0, 0].item() for text in ended]
    model.config.pad_token_id = pad
    return ended, scores


def save(model, name, seed):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, parameter in sorted(model.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(1 + 0.2 * noise if "norm" in key else 0.25 * noise)
    model.eval()
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    texts = [torch.randint(3, SIZES["vocab_size"], (n,), generator=generator).tolist() for n in LENGTHS]
    pooled, tokens = scores_of(model, texts)
    short = lambda xs: [float(f"{x:.7g}") for x in xs]
    ended, scores = ended_scores(model, texts)
    golden = {"texts": texts, "scores": short(pooled), "token_scores": [short(t) for t in tokens],
              "ended": {"texts": ended, "scores": short(scores)}}
    (folder / "golden.json").write_text(json.dumps(golden, separators=(",", ":")) + "\n")


def check(name, folder):
    golden = json.loads((HERE / name / "golden.json").read_text())
    model, info = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    assert model.config.num_labels == 1 and not info["missing_keys"] and not info["unexpected_keys"], info
    pooled, _ = scores_of(model.eval(), golden["texts"])
    worst = max(abs(a - b) for a, b in zip(pooled, golden["scores"]))
    print(f"{type(model).__name__} from {folder}: scores differ by at most {worst:.2e}")
    assert worst < 1e-5


def main():
    transformers.logging.set_verbosity_error()
    if sys.argv[1:2] == ["--check"]:
        return check(*sys.argv[2:])
    save(LlamaForSequenceClassification(LlamaConfig(**SIZES, tie_word_embeddings=True)), "score_llama", 7)
    save(Qwen2ForSequenceClassification(Qwen2Config(**SIZES)), "score_qwen2", 8)
    save(Qwen3ForSequenceClassification(Qwen3Config(**SIZES, head_dim=8)), "score_qwen3", 9)


if __name__ == "__main__":
    main()
