#!/usr/bin/env python3
"""Sampling speed, side by side: tools/bench/bench_sampling and transformers' generate on the same model, in turns.

    ~/.cache/millrace/peers/bin/python tools/bench/sampling_peer.py build/release/tools/bench/bench_sampling MODEL.gguf
        [--threads 2] [--batch 1 16 32] [--new-tokens 48] [--prompt-tokens 48] [--repeat 3]

Both run in fp32, draw at temperature 1 from the whole vocabulary, never stop early, and count all new tokens of the
batch over the whole call, prompt included. The best of the repeats counts on each side. One JSON line a batch.
"""
import argparse
import json
import pathlib
import subprocess
import time

import torch
import transformers


def load_model(path):
    """transformers' model of a GGUF file or an HF folder, in fp32."""
    path = path.resolve()
    where = dict(gguf_file=path.name) if path.suffix == ".gguf" else {}
    model = transformers.AutoModelForCausalLM.from_pretrained(path.parent if where else path, dtype=torch.float32, **where)
    return model.eval()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 16, 32])
    parser.add_argument("--new-tokens", type=int, default=48)
    parser.add_argument("--prompt-tokens", type=int, default=48)
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    model = load_model(args.model)
    vocab = model.config.vocab_size

    def theirs(batch):
        ids = torch.tensor([[(t * 7919 + i * 104729 + 13) % vocab for t in range(args.prompt_tokens)]
                            for i in range(batch)])
        start = time.perf_counter()
        with torch.inference_mode():
            out = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=True, temperature=1.0, top_k=0,
                                 top_p=1.0, max_new_tokens=args.new_tokens, min_new_tokens=args.new_tokens,
                                 pad_token_id=0)
        seconds = time.perf_counter() - start
        assert out.shape[1] == args.prompt_tokens + args.new_tokens
        return seconds

    def ours(batch):
        line = subprocess.run([args.program, str(args.model.resolve()), "--threads", str(args.threads), "--batch", str(batch),
                               "--repeat", "1", "--new-tokens", str(args.new_tokens), "--prompt-tokens",
                               str(args.prompt_tokens)], check=True, capture_output=True, text=True).stdout
        return json.loads(line)["total_s"]

    for batch in args.batch:
        a, b = [], []
        for _ in range(args.repeat):
            a.append(ours(batch))
            b.append(theirs(batch))
        tokens = batch * args.new_tokens
        print(json.dumps({"batch": batch, "threads": args.threads, "millrace_tokens_per_s": round(tokens / min(a), 1),
                          "transformers_tokens_per_s": round(tokens / min(b), 1),
                          "ratio": round(min(b) / min(a), 2)}), flush=True)


if __name__ == "__main__":
    main()
