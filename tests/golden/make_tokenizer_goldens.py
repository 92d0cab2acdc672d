#!/usr/bin/env python3
"""Writes tests/golden/tokenizers/<kind>/{tokenizer.json,ids.jsonl}: small trained tokenizers and the ids that Hugging Face
`tokenizers` gives for a few hundred hard lines, one {"text", "ids", "decoded"} a line.

    tests/golden/make_tokenizer_goldens.py

Needs the package tokenizers. The corpus is Python's own library, so another Python writes other (equally good) files.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from tokenizer_configs import special_tokens, trained  # noqa: E402
from tokenizer_lines import code_lines, make_lines  # noqa: E402

here = Path(__file__).parent / "tokenizers"
for kind, vocabulary in {"smollm": 900, "llama3": 900, "qwen2": 900, "odd": 600}.items():
    tokenizer = trained(kind, code_lines(8000) + make_lines(3000, 2), vocabulary)
    folder = here / kind
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False, separators=(",", ":")) + "\n")
    with (folder / "ids.jsonl").open("w") as out:
        for line in make_lines(80 if kind == "odd" else 150, 3, special_tokens(tokenizer)):
            ids = tokenizer.encode(line, add_special_tokens=False).ids
            row = {"text": line, "ids": ids, "decoded": tokenizer.decode(ids, skip_special_tokens=False)}
            if row["decoded"] == line:
                del row["decoded"]
            out.write(json.dumps(row, separators=(",", ":")) + "\n")
