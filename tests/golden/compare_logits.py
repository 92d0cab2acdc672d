#!/usr/bin/env python3
"""Compares the logits of a GGUF model with what transformers makes of the same file, and of the folder converted from it.

    build/release/millrace convert MODEL.gguf FOLDER
    python tests/golden/compare_logits.py MODEL.gguf FOLDER [--millrace build/release/millrace]
                                          [--logits build/release/tools/bench/model_logits]

Prints the largest difference of the weights (transformers' own reading of the GGUF against the folder); with --millrace,
of the log-probabilities that `millrace score` gives for a few texts; with --logits, of every logit of texts of a thousand
tokens, for the kernels and for the learner's arithmetic, against transformers in float32 and in float64, beside what
transformers' own float32 is away from its float64. Needs torch, transformers, gguf.
"""
import argparse
import json
import pathlib
import subprocess
import tempfile

import numpy
import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

TEXTS = [
    ("What is 47 plus 12? Reply with the number only.", " The answer is 59."),
    ("def quicksort(items):\n", "    if len(items) <= 1:\n        return items\n"),
    ("Les élèves étudient ", "à l'université de Montréal. 😀"),
]

LONG_TOKENS = 1000
LONG_TEXTS = {
    "sums": " ".join(f"What is {7 * i % 89 + 10} plus {11 * i % 83 + 10}? It is {7 * i % 89 + 11 * i % 83 + 20}."
                     for i in range(80)),
    "code": "".join(f"int {name}(const std::vector<int>& values, int limit) {{\n  int total = 0;\n  for (int value : values)\n"
                    f"    if (value % {i + 2} == 0 && value < limit)\n      total += {i + 1} * value;\n  return total;\n}}\n\n"
                    for i, name in enumerate("alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi".split() * 2)),
    "prose": " ".join(f"On day {i}, the {a} walked past the {b}, said \"{c}\", and nobody in the town knew why."
                      for i, (a, b, c) in enumerate([("old miller", "river", "the wheel turns"), ("élève", "café", "à demain"),
                                                     ("robot", "market", "0.5 is enough 😀"), ("queen", "mill", "let it run")] * 12)),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gguf", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--millrace", help="the program, to compare what `millrace score` prints as well")
    parser.add_argument("--logits", help="the program tools/bench/model_logits, to compare every logit of long texts")
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
    if given.logits:
        compare_long(given.logits, given.gguf, theirs, their_tokenizer)


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


def compare_long(program, model, theirs, tokenizer):
    ids = {name: tokenizer(text, add_special_tokens=False)["input_ids"][:LONG_TOKENS] for name, text in LONG_TEXTS.items()}

    def logits_of_theirs():
        with torch.no_grad():
            return {name: theirs(torch.tensor([tokens])).logits[0] for name, tokens in ids.items()}

    single = logits_of_theirs()
    theirs.double()
    exact = logits_of_theirs()
    largest = lambda a, b: f"{(a.double() - b.double()).abs().max().item():.2g}"
    with tempfile.TemporaryDirectory() as folder:
        tokens_file, out = pathlib.Path(folder, "tokens"), pathlib.Path(folder, "logits")
        for name, tokens in ids.items():
            tokens_file.write_text(" ".join(map(str, tokens)))
            print(f"{name}, {len(tokens)} tokens: transformers in float32 against float64: {largest(single[name], exact[name])}")
            for path in ("kernels", "training"):
                subprocess.run([program, str(model), "--tokens", tokens_file, "--out", out, "--path", path], check=True)
                ours = torch.from_numpy(numpy.fromfile(out, dtype=numpy.float32).reshape(len(tokens), -1))
                print(f"{name}, {len(tokens)} tokens, {path}: largest difference of a logit against float64: "
                      f"{largest(ours, exact[name])}; against float32: {largest(ours, single[name])}")


if __name__ == "__main__":
    main()
