#!/usr/bin/env bash
# Qwen3's chat template rewrites a conversation at every turn with enable_thinking=False too, where the model thinks
# nothing. The opening of a turn is then an empty thought, and the same template leaves it out of the turn once the turn
# is history, also behind the result of a tool. So what was read and sampled never begins what is read next. With
# thinking on, thoughts stay behind the result of a tool and go when the next question comes.
#
# One would expect: only thoughts that are there are taken out, and without any a conversation grows at its end. Who
# reuses keys and values by prefix, or trains what was sampled behind one growing sequence, has neither here.
# Millrace reads such a conversation anew, as a segment of its own.
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
cd "$here"
python3 -m venv env
env/bin/pip install -q jinja2==3.1.6 2>/dev/null
env/bin/pip download -q --no-deps -d . trl==1.16.0 2>/dev/null # for its copy of the template
unzip -q -j trl-*.whl 'trl/chat_templates/qwen3.jinja'
cat > history.py <<'PY'
import jinja2

template = jinja2.Environment(trim_blocks=True, lstrip_blocks=True).from_string(open("qwen3.jinja").read())


def text(messages, thinking):
    return template.render(messages=messages, add_generation_prompt=True, enable_thinking=thinking)


question, tool = {"role": "user", "content": "And 4?"}, {"role": "tool", "content": "9"}
for thinking, turn in ((True, "<think>\nEasy.\n</think>\n\n5"), (False, "5")):
    asked = [{"role": "user", "content": "2 + 3?"}]
    read = text(asked, thinking) + turn + "<|im_end|>\n"
    for said in (question, tool):
        following = text(asked + [{"role": "assistant", "content": turn}, said], thinking)
        print(f"thinking {thinking!s:5} | next comes a {said['role']:4} |",
              "goes on behind what was read" if following.startswith(read) else "rewritten")
PY
env/bin/python history.py | tee said
test "$(grep -c rewritten said)" = 3
grep -q 'thinking True  | next comes a tool | goes on behind what was read' said
echo "template of trl $(ls trl-*.whl | cut -d- -f2), jinja2 $(env/bin/pip list 2>/dev/null | awk '$1 == "Jinja2" {print $2}')"
