#!/usr/bin/env python3
"""What `millrace check --memory` predicts against the most memory (VmHWM) that each process of a run comes to.

    python3 tools/bench/memory_plan.py [--millrace build/release/millrace] [--model GGUF] [--steps 3] [--only NAME ...]

Sixteen configurations of SmolLM2-135M, whole and cut down to its first six layers, whose answers run to their longest. Prints
a line a process: predicted, measured, their ratio; and the CPU seconds of all processes. Exit status 1 if a ratio is
further from 1 than 10 %.
"""
import argparse
import json
import pathlib
import re
import struct
import subprocess
import sys
import tempfile
import threading

from process_memory import watch

ROOT = pathlib.Path(__file__).resolve().parents[2]
PIPELINE = """
[run]
name = "memory"
seed = 1
checkpoint_every_s = 0
[models.m]
path = "{model}"
[models.judge]
path = "{judge}"
[roles.prompts]
kind = "source"
generator = {{ type = "arithmetic", operation = "add", min = 1, max = 20 }}
max_prompt_tokens = 48
[roles.rollout]
kind = "rollout"
from = ["prompts"]
model = "m"
answers_per_prompt = 8
max_new_tokens = 32
slots = 32
[roles.rules]
kind = "rule_verifier"
from = ["rollout"]
rules = [ {{ type = "format", pattern = "(cat|dog|1).*e", match = "search" }} ]
{more}
[roles.learner]
kind = "policy"
from = [{reads}]
model = "m"
publishes_to = [{publishes_to}]
algorithm = "{algorithm}"
optimizer = {{ lr = 1e-6 }}
micro_batch_tokens = 2048
skip_flat_groups = false
[schedule]
preset = "synchronous"
groups_per_step = 4
"""
CRITIC = '[roles.critic]\nkind = "critic"\nfrom = ["rollout"]\nmodel = "m"\nmicro_batch_tokens = 1024\n'
REFERENCE = '[roles.frozen]\nkind = "reference"\nfrom = ["rollout"]\nmodel = "m"\n'
JUDGE = '[roles.judge]\nkind = "reward_model"\nfrom = ["rollout"]\nmodel = "judge"\n'
HELD_OUT = """[roles.held_out]
kind = "evaluation"
model = "m"
generator = { type = "arithmetic", operation = "add", min = 1, max = 20 }
rules = [ { type = "number" } ]
max_prompt_tokens = 48
rows = 32
answers_per_prompt = 1
max_new_tokens = 32
slots = 32
every = 1
"""
LONG = ["roles.rollout.max_new_tokens=512", "roles.learner.micro_batch_tokens=2048", "schedule.groups_per_step=1"]
APART = ["placement.learner.processes=1", "placement.rollout.processes=1"]
RANKS = ["placement.learner.processes=2", "roles.learner.micro_batch_tokens=512", "roles.learner.threads=1"]

# name: model, more roles, settings
CONFIGURATIONS = {
    "one process": ("whole", "", []),
    "placed": ("whole", "", APART),
    "ranks, shard none": ("six", "", RANKS),
    "ranks, shard optimizer": ("six", "", RANKS + ["placement.learner.shard=optimizer"]),
    "ranks, shard full": ("six", "", RANKS + ["placement.learner.shard=full"]),
    "int8 rollout": ("whole", "", APART + ["models.m.rollout_dtype=int8"]),
    "small micro-batches": ("six", "", APART + ["roles.learner.micro_batch_tokens=256"]),
    "long answers": ("six", "", APART + LONG),
    "long, recomputed": ("six", "", APART + LONG + ["roles.learner.activation_checkpointing=true"]),
    "long, learner in bfloat16": ("six", "", APART + LONG + ["roles.learner.compute_dtype=bfloat16"]),
    "long, bounded cache": ("six", "", APART + LONG + ["roles.rollout.cache_bytes=\"24 MiB\""]),
    "PPO with critic": ("six", CRITIC, ["placement.critic.processes=1"]),
    "reward model placed": ("six", JUDGE, APART + ["placement.judge.processes=1",
                                                   'roles.learner.rewards=[{name="format"},{name="judge"}]']),
    "evaluation placed": ("six", HELD_OUT, APART + ["placement.held_out.processes=1"]),
    "LoRA over TCP": ("whole", "", APART + ["roles.learner.lora.rank=16", "placement.transport=tcp"]),
    "LoRA, reference": ("whole", REFERENCE, ["roles.learner.lora.rank=16", "roles.learner.loss.kl_coefficient=0.1"]),
}


def first_layers(millrace, model, folder, layers, judges=False):
    """The model as a Hugging Face folder with its first layers alone: what it writes makes no sense, and has no end.

    Where it judges, it has the head of a reward model, of zeros.
    """
    subprocess.run([millrace, "convert", str(model), str(folder)], check=True, capture_output=True)
    config = json.loads((folder / "config.json").read_text())
    config["num_hidden_layers"] = layers
    if judges:
        config |= {"architectures": ["LlamaForSequenceClassification"], "num_labels": 1}
    (folder / "config.json").write_text(json.dumps(config))
    path = folder / "model.safetensors"
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header, body = json.loads(data[8:8 + size]), memoryview(data)[8 + size:]
    kept, parts, end = {}, [], 0
    for name, entry in header.items():
        layer = re.search(r"layers\.(\d+)\.", name)
        if name == "__metadata__" or (layer and int(layer.group(1)) >= layers):
            continue
        begin, stop = entry["data_offsets"]
        kept[name] = entry | {"data_offsets": [end, end + stop - begin]}
        parts.append(body[begin:stop])
        end += stop - begin
    if judges:
        head = bytes(4 * config["hidden_size"])
        kept["score.weight"] = {"dtype": "F32", "shape": [1, config["hidden_size"]],
                                "data_offsets": [end, end + len(head)]}
        parts.append(head)
    text = json.dumps(kept).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(parts))


def measured(given, folder, name, command):
    """Bytes by process: "run", "learner/0", ..."""
    out = folder / name.replace(" ", "-").replace(",", "")
    process = subprocess.Popen([given.millrace, "run"] + command + ["--output", str(out)], stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, text=True)
    peak, cpu = {}, {}
    watcher = threading.Thread(target=watch, args=(process, peak, cpu))
    watcher.start()
    errors = process.communicate()[1]
    watcher.join()
    if process.returncode:
        sys.exit(f"{name}: exit status {process.returncode}\n{errors}")
    names = {process.pid: "run"}
    for line in (out / "log.txt").read_text().splitlines():
        if found := re.search(r"info +(\S+) +started (?:again )?as process (\d+)", line):
            names[int(found.group(2))] = found.group(1)
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    lengths = [row["response_length/mean"] for row in rows if "response_length/mean" in row]
    most = {}
    for pid, size in peak.items():
        if pid in names: # a process that had to be started again is measured in all its lives
            most[names[pid]] = max(size, most.get(names[pid], 0))
    return most, sum(cpu.values()), lengths


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--millrace", default=str(ROOT / "build/release/millrace"))
    parser.add_argument("--model", default=pathlib.Path.home() / ".cache/millrace/smollm2-135m-instruct.gguf")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--only", action="append", default=[])
    given = parser.parse_args()
    worst = 0
    print(f"{'configuration':24} {'process':12} {'predicted':>10} {'measured':>10} {'ratio':>6}", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        first_layers(given.millrace, given.model, folder / "six", 6)
        first_layers(given.millrace, given.model, folder / "judge", 6, judges=True)
        for name, (model, more, sets) in CONFIGURATIONS.items():
            if given.only and name not in given.only:
                continue
            reads = '"rules"'
            for role, of in (("critic", CRITIC), ("frozen", REFERENCE), ("judge", JUDGE)):
                reads += f', "{role}"' if more == of else ""
            path = folder / "p.toml"
            path.write_text(PIPELINE.format(model=given.model if model == "whole" else folder / "six", more=more,
                                            judge=folder / "judge", reads=reads,
                                            publishes_to='"rollout", "held_out"' if more == HELD_OUT else '"rollout"',
                                            algorithm="ppo" if more == CRITIC else "grpo"))
            command = [str(path), "--set", f"run.steps={given.steps}"]
            for setting in sets:
                command += ["--set", setting]
            checked = subprocess.run([given.millrace, "check", "--memory", "--json"] + command, capture_output=True,
                                     text=True)
            predicted = {}
            for line in checked.stdout.splitlines():
                for process in json.loads(line).get("memory", {}).get("processes", []):
                    predicted[process["process"]] = process["bytes"]
            found, cpu, lengths = measured(given, folder, name, command)
            for process, size in sorted(found.items()):
                ratio = predicted.get(process, 0) / size
                worst = max(worst, abs(ratio - 1))
                print(f"{name:24} {process:12} {predicted.get(process, 0) / 2**20:6.0f} MiB {size / 2**20:6.0f} MiB "
                      f"{ratio:6.3f}", flush=True)
            print(f"{'':24} {cpu:.0f} s of CPU, answers of {min(lengths):.0f} to {max(lengths):.0f} tokens", flush=True)
    return 0 if worst <= 0.1 else 1


if __name__ == "__main__":
    sys.exit(main())
