#!/usr/bin/env python3
"""Bytes that a rollout pulls of weights, as what differs from the version before and whole, and whether the two runs come
to the same weights bit for bit.

    python3 tools/bench/deltas.py MODEL [--millrace build/release/millrace] [--lr 1e-6] [--steps 10]

MODEL is a folder or a GGUF file. The run is GRPO in bfloat16 on sums of numbers of two digits, 2 groups of 4 answers of 16
tokens; its rollout is a process that reads everything over TCP, as on another host. Prints `weights/delta_share` of each
step, the bytes of both runs, and their ratio without the first version, which is whole in both. Exit status 1 where the
weights differ.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

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

[placement]
transport = "tcp"
rollout = {{ processes = 1 }}
"""


def run(millrace, file, output, deltas):
    """Bytes that the rollout pulled from the run, its metrics, and the saved weights."""
    subprocess.run([millrace, "run", file, "--output", output, "--set",
                    "roles.learner.publish_deltas=" + ("true" if deltas else "false")],
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    status = json.loads((output / "status.json").read_text())
    pulled = sum(lane["bytes_pulled"] for lane in status["lanes"] if lane["to"] == "rollout/0")
    metrics = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    newest = sorted((output / "checkpoints").glob("step-*"))[-1]
    return pulled, metrics, b"".join(file.read_bytes() for file in sorted((newest / "model").glob("*.safetensors")))


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("model", type=pathlib.Path)
    options.add_argument("--millrace", default=ROOT / "build/release/millrace")
    options.add_argument("--lr", default="1e-6")
    options.add_argument("--steps", type=int, default=10)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = pathlib.Path(made)
        file = folder / "deltas.toml"
        file.write_text(PIPELINE.format(steps=given.steps, model=given.model.resolve(), lr=given.lr))
        less, metrics, weights = run(given.millrace, file, folder / "changes", True)
        all_of_it, _, wanted = run(given.millrace, file, folder / "whole", False)
    print("delta_share by step:", " ".join(f"{row['weights/delta_share']:.4f}" for row in metrics))
    version = all_of_it / given.steps
    print(f"pulled: {less / 1e6:.1f} MB with deltas, {all_of_it / 1e6:.1f} MB without; behind the first version "
          f"{(less - version) / (all_of_it - version):.4f} of the bytes")
    print("weights:", "the same bit for bit" if weights == wanted else "DIFFERENT")
    return 0 if weights == wanted else 1


if __name__ == "__main__":
    sys.exit(main())
