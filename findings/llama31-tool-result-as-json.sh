#!/usr/bin/env bash
# Llama 3.1's and 3.2's chat templates write a tool's result as a JSON string where it is text: in quotes, with \n for an
# end of line. The template asks whether the content is iterable, and in Jinja a string is. So the model reads "42" where
# the tool said 42, and a table of several lines as one line. Qwen 2.5's template writes the same text as it is.
#
# One would expect: text stays text, and only lists and mappings become JSON.
# Millrace writes what the template writes (runtime/text/chat_template.cpp; goldens in tests/golden/chat_templates.jsonl).
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
cd "$here"
python3 -m venv env
env/bin/pip install -q --no-deps trl==1.16.0 jinja2==3.1.6 markupsafe==3.0.3 2>/dev/null
cat > render.py <<'PY'
import importlib.util
import json
from pathlib import Path

from jinja2.sandbox import ImmutableSandboxedEnvironment

folder = Path(importlib.util.find_spec("trl").origin).parent / "chat_templates"
jinja = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
jinja.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)  # as transformers has it
messages = [{"role": "user", "content": "6 * 7?"}, {"role": "assistant", "content": "call"}, {"role": "tool", "content": "42\nexactly"}]
for name in ("llama3_1", "llama3_2", "qwen2_5"):
    text = jinja.from_string((folder / (name + ".jinja")).read_text()).render(
        messages=messages, add_generation_prompt=False, bos_token="")
    print(name, repr(text[text.index("call") + 4:]))
PY
env/bin/python render.py | tee said
echo "templates of trl 1.16.0, Jinja2 3.1.6"
grep -qF 'llama3_1 '"'"'<|eot_id|><|start_header_id|>ipython<|end_header_id|>\n\n"42\\nexactly"<|eot_id|>' said
grep -qF 'llama3_2 '"'"'<|eot_id|><|start_header_id|>ipython<|end_header_id|>\n\n"42\\nexactly"<|eot_id|>' said
grep -qF '<tool_response>\n42\nexactly\n</tool_response>' said
