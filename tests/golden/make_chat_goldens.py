#!/usr/bin/env python3
"""Writes tests/golden/chat_templates.jsonl: what Jinja2 renders of each family's own template, one {"name", "messages",
"generation", "text"} a line.

    tests/golden/make_chat_goldens.py --gguf build/models/smollm2-135m-instruct.gguf

Needs jinja2, gguf and trl (it carries the families' templates). Jinja2 is set up as transformers does, without strftime_now:
the templates then fall back to a fixed date.
"""

import argparse
import importlib.util
import json
import sys
from pathlib import Path

import gguf

from jinja2.sandbox import ImmutableSandboxedEnvironment

sys.path.insert(0, str(Path(__file__).parent))
from chat_conversations import CONVERSATIONS  # noqa: E402

CHATML = ("{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}"
          "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--gguf", required=True, help="SmolLM2's GGUF file")
given = parser.parse_args()

smollm2 = gguf.GGUFReader(given.gguf).fields["tokenizer.chat_template"].contents()
default_line = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
assert default_line in smollm2
folder = Path(importlib.util.find_spec("trl").origin).parent / "chat_templates"
read = lambda name: (folder / name).read_text()  # noqa: E731
templates = {"chatml": (CHATML, {}), "smollm2": (smollm2, {}), "qwen2": (smollm2.replace(default_line, "You are a helpful assistant."), {}),
             "qwen2.5": (read("qwen2_5.jinja"), {}), "qwen3": (read("qwen3.jinja"), {}),
             "qwen3-no-think": (read("qwen3.jinja"), {"enable_thinking": False}), "qwen3-2507": (read("qwen3_instruct_2507.jinja"), {}),
             "llama3": (read("llama3.jinja"), {}), "llama3.1": (read("llama3_1.jinja"), {}), "llama3.2": (read("llama3_2.jinja"), {})}

environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
environment.filters["tojson"] = lambda x: json.dumps(x, ensure_ascii=False)
with (Path(__file__).parent / "chat_templates.jsonl").open("w") as out:
    for name, (source, options) in templates.items():
        template = environment.from_string(source)
        for messages in CONVERSATIONS:
            for generation in (False, True):
                text = template.render(messages=[{"role": r, "content": c} for r, c in messages], add_generation_prompt=generation,
                                       bos_token="<|begin_of_text|>", **options)
                out.write(json.dumps({"name": name, "messages": messages, "generation": generation, "text": text}) + "\n")
