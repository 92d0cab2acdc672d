#!/usr/bin/env python3
"""Bytes that a rollout pulls of weights, as a part of each version and whole, and whether the two runs come to the same
weights bit for bit.

    python3 tools/bench/deltas.py MODEL [--lora RANK] [--millrace build/release/millrace] [--lr 1e-6] [--steps 10]

MODEL is a folder or a GGUF file. The run is GRPO in bfloat16 on sums of numbers of two digits, 2 groups of 4 answers of 16
tokens; its rollout is a process that reads everything over TCP, as on another host. The part is what differs from the
version before, and with `--lora` the adapter. Those runs are compared with one that publishes whole versions: without
deltas, and with `--lora` in one process, whose rollout reads the learner's memory. Prints `weights/published_share` of
each step, the bytes that the rollout pulled against those of whole versions, their ratio (without the first version, where
that is whole in both), and the most memory of the rollout's process. Exit status 1 where the weights differ.
"""
import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import threading

from process_memory import watch

ROOT = pathlib.Path(__file__).resolve().parents[2]
PIPELINE = """
[run]
name = "deltas"
steps = {steps}

[models.policy]
path = "{model}"
dtype = "bfloat16"

[roles.prompts]
kind = "source"
generator = {{ type = "arithmetic" }}

[roles.rollout]
kind = "rollout"
from = ["prompts"]
model = "policy"
answers_per_prompt = 4
max_new_tokens = 16

[roles.rules]
kind = "rule_verifier"
from = ["rollout"]
rules = [{{ type = "number" }}, {{ type = "length", max = 15 }}]

[roles.learner]
kind = "policy"
from = ["rules"]
model = "policy"
publishes_to = ["rollout"]
optimizer = {{ lr = {lr} }}

[schedule]
preset = "synchronous"
groups_per_step = 2
"""
APART = ["placement.transport=tcp", "placement.rollout.processes=1"]


class Run:
    """A run to its end: what its rollout pulled, its metrics, its saved weights, the rollout's most memory in MiB."""

    def __init__(self, millrace, file, output, sets):
        command = [millrace, "run", file, "--output", output]
        for one in sets:
            command += ["--set", one]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        peak, cpu = {}, {}
        watcher = threading.Thread(target=watch, args=(process, peak, cpu))
        watcher.start()
        errors = process.communicate()[1]
        watcher.join()
        if process.returncode:
            sys.exit(errors)
        status = json.loads((output / "status.json").read_text())
        self.pulled = sum(lane["bytes_pulled"] for lane in status["lanes"] if lane["to"] == "rollout/0")
        self.metrics = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
        newest = sorted((output / "checkpoints").glob("step-*"))[-1]
        self.weights = b"".join(file.read_bytes() for file in sorted((newest / "model").glob("*.safetensors")))
        found = re.search(r"rollout/0 +started as process (\d+)", (output / "log.txt").read_text())
        self.memory = peak.get(int(found.group(1)), 0) / 2**20 if found else 0


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("model", type=pathlib.Path)
    options.add_argument("--lora", type=int, default=0, metavar="RANK")
    options.add_argument("--millrace", default=ROOT / "build/release/millrace")
    options.add_argument("--lr", default="1e-6")
    options.add_argument("--steps", type=int, default=10)
    given = options.parse_args()
    part = ["roles.learner.lora.rank=" + str(given.lora)] if given.lora else ["roles.learner.publish_deltas=true"]
    with tempfile.TemporaryDirectory() as made:
        folder = pathlib.Path(made)
        file = folder / "deltas.toml"
        file.write_text(PIPELINE.format(steps=given.steps, model=given.model.resolve(), lr=given.lr))
        parts = Run(given.millrace, file, folder / "parts", APART + part)
        whole = Run(given.millrace, file, folder / "whole", part if given.lora else APART)
    shares = [row["weights/published_share"] for row in parts.metrics]
    print("published_share by step:", " ".join(f"{share:.4f}" for share in shares))
    if given.lora:
        version = len(whole.weights) / 2 # the saved ones are fp32, with a head of a few thousandths
        print(f"pulled: {parts.pulled / 1e6:.1f} MB, {parts.pulled / given.steps / 1e6:.2f} MB a version in place of "
              f"{version / 1e6:.1f} MB: {parts.pulled / given.steps / version:.4f} of the bytes")
    else:
        version = whole.pulled / given.steps
        print(f"pulled: {parts.pulled / 1e6:.1f} MB with deltas, {whole.pulled / 1e6:.1f} MB without; behind the first "
              f"version {(parts.pulled - version) / (whole.pulled - version):.4f} of the bytes")
    print(f"most memory of the rollout: {parts.memory:.0f} MiB"
          + ("" if given.lora else f", {whole.memory:.0f} MiB without deltas"))
    same = parts.weights == whole.weights
    print("weights:", "the same bit for bit" if same else "DIFFERENT")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
