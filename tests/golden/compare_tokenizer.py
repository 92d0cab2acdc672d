#!/usr/bin/env python3
"""Compares `millrace tokenize` with Hugging Face `tokenizers`: the same ids and the same text back, line by line.

    tests/golden/compare_tokenizer.py --millrace build/release/millrace --gguf build/models/smollm2-135m-instruct.gguf

Needs the packages tokenizers and gguf. Prints one line a tokenizer; exit status 1 if a line differs.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from tokenizer_configs import boundaries, smollm2_from_gguf, special_tokens, trained  # noqa: E402
from tokenizer_lines import code_lines, make_lines  # noqa: E402


def sweep():
    """Every code point between letters, digits, spaces and punctuation, and doubled."""
    return [f"a{c}b {c}1 {c}{c} .{c}\n{c} {c}q{c}z{c}" for c in map(chr, range(1, 0x110000)) if not 0xD800 <= ord(c) < 0xE000]


def compare(name, tokenizer, model, lines, millrace, folder):
    file = folder / "lines.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    began = time.monotonic()
    found = subprocess.run([millrace, "tokenize", model, "--json", "--file", file], check=True, stdout=subprocess.PIPE).stdout
    seconds = time.monotonic() - began
    ids = [json.loads(line) for line in found.splitlines()]
    want = [e.ids for e in tokenizer.encode_batch(lines, add_special_tokens=False)]
    wrong = [i for i in range(len(lines)) if i >= len(ids) or ids[i] != want[i]]

    file.write_bytes(found)
    back = subprocess.run([millrace, "tokenize", model, "--decode", "--file", file], check=True, stdout=subprocess.PIPE).stdout
    texts = [json.loads(line) for line in back.splitlines()]
    undone = [i for i, t in enumerate(tokenizer.decode_batch(ids, skip_special_tokens=False)) if texts[i] != t]

    size = sum(len(line.encode()) for line in lines)
    print(f"{name}: {len(lines)} lines, {size / 1e6:.1f} MB, {sum(map(len, want))} tokens, {len(wrong)} lines of ids differ, "
          f"{len(undone)} texts differ, {seconds:.1f} s", flush=True)
    for i in wrong[:5]:
        print(f"  {lines[i]!a}\n    want {want[i]}\n    found {ids[i] if i < len(ids) else None}")
    for i in undone[:5]:
        print(f"  {ids[i]}\n    found text {texts[i]!a}")
    return len(wrong) + len(undone)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--millrace", default="build/release/millrace")
    parser.add_argument("--gguf", help="SmolLM2's GGUF file")
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sweep", action="store_true", help="also every code point in context")
    given = parser.parse_args()
    wrong = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        corpus = code_lines() + make_lines(20_000, given.seed + 1)
        pairs = [(kind, trained(kind, corpus, 8000), None) for kind in ("llama3", "qwen2", "odd")]
        if given.gguf:
            smollm2 = smollm2_from_gguf(given.gguf)
            pairs += [("smollm2", smollm2, None), ("smollm2.gguf", smollm2, given.gguf)]
        for name, tokenizer, model in pairs:
            if model is None:
                model = folder / name
                model.mkdir()
                tokenizer.save(str(model / "tokenizer.json"))
            wrong += compare(name, tokenizer, model, make_lines(given.lines, given.seed, special_tokens(tokenizer)), given.millrace, folder)
        for kind in ("smollm", "llama3", "qwen2") if given.sweep else ():
            model = folder / (kind + "-boundaries")
            model.mkdir()
            tokenizer = boundaries(kind)
            tokenizer.save(str(model / "tokenizer.json"))
            wrong += compare(f"{kind}, every code point in context", tokenizer, model, sweep(), given.millrace, folder)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
