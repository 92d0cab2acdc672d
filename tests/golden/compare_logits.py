#!/usr/bin/env python3
"""Compares the logits of a GGUF model with what transformers makes of the same file, and of the folder converted from it.

    build/release/millrace convert MODEL.gguf FOLDER
    python tests/golden/compare_logits.py MODEL.gguf FOLDER [--millrace build/release/millrace]

Prints the largest difference of the weights (transformers' own reading of the GGUF against the folder) and, with
--millrace, of the log-probabilities that `millrace score` gives for a few texts. Needs torch, transformers, gguf.
"""
import argparse
import json
import pathlib
import subprocess
import tempfile

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

TEXTS = [
    ("What is 47 plus 12? Reply with the number only.", " The answer is 59."),
    ("def quicksort(items):\n", "    if len(items) <= 1:\n        return items\n"),
    ("Les élèves étudient ", "à l'université de Montréal. 😀"),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gguf", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--millrace", help="the program, to compare what `millrace score` prints as well")
    given = parser.parse_args()
    transformers.logging.set_verbosity_error()

    source = dict(gguf_file=given.gguf.name)
    theirs = AutoModelForCausalLM.from_pretrained(given.gguf.parent, dtype=torch.float32, **source)
    ours = AutoModelForCausalLM.from_pretrained(given.folder, dtype=torch.float32)
    their_tokenizer = AutoTokenizer.from_pretrained(given.gguf.parent, **source)
    our_tokenizer = AutoTokenizer.from_pretrained(given.folder)

    a, b = theirs.state_dict(), ours.state_dict()
    print("parameters:", len(a), "names equal:", a.keys() == b.keys())
    print("largest difference of a weight:", max((a[k] - b[k]).abs().max().item() for k in a))
    rows = []
    for prompt, completion in TEXTS:
        head, tail = (their_tokenizer(t, add_special_tokens=False)["input_ids"] for t in (prompt, completion))
        same = [our_tokenizer(t, add_special_tokens=False)["input_ids"] for t in (prompt, completion)] == [head, tail]
        ids = torch.tensor([head + tail])
        with torch.no_grad():
            x, y = theirs(ids).logits, ours(ids).logits
        logprobs = x.log_softmax(-1)[0, len(head) - 1:-1].gather(1, ids[0, len(head):, None])[:, 0]
        rows.append((head, tail, logprobs))
        print(f"{ids.shape[1]} tokens: ids equal: {same}; largest difference of a logit, GGUF in transformers against "
              f"the folder in transformers: {(x - y).abs().max().item():.2g}")
    if given.millrace:
        compare_scores(given.millrace, given.gguf, rows)


def compare_scores(program, model, rows):
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        for head, tail, _ in rows:
            file.write(json.dumps({"prompt_tokens": head, "tokens": tail}) + "\n")
        file.flush()
        out = subprocess.run([program, "score", str(model), "--file", file.name], check=True, capture_output=True, text=True)
    for line, (_, tail, want) in zip(out.stdout.splitlines(), rows, strict=True):
        found = json.loads(line)
        difference = (torch.tensor(found["logprobs"]) - want).abs().max().item()
        print(f"{len(tail)} tokens: largest difference of a log-probability, millrace against transformers: {difference:.2g}")


if __name__ == "__main__":
    main()
