#!/usr/bin/env python3
"""A learner of several processes against one process: seconds a step and most memory, of supervised steps, so that nobody
else wants the cores. The losses have to be the same where the threads of a rank are.

    python3 tools/bench/ranks_step.py [--millrace build/release/millrace] [--rounds 2] [--steps 4] [--rows 24]
        [--ranks 2] [--shard none] [--set KEY=VALUE ...]

Three runs in turns, `rounds` times: one process of as many threads as there are ranks, the ranks with a thread each, one
process of one thread. The first step of a run is left out. Rows are made up: 100 to 160 tokens each. Prints a line a run,
then the ratios of the medians. Exit status 1 if ranks and the process of one thread learn otherwise.
"""
import argparse
import json
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import threading

from process_memory import watch

ROOT = pathlib.Path(__file__).resolve().parents[2]
PIPELINE = """
[run]
name = "ranks"
seed = 1
[models.smol]
path = "{model}"
[roles.rows]
kind = "source"
file = "{rows}"
[roles.answers]
kind = "demonstrations"
from = ["rows"]
model = "smol"
[roles.learner]
kind = "policy"
from = ["answers"]
model = "smol"
algorithm = "sft"
micro_batch_tokens = 512
optimizer = {{ lr = 1e-5 }}
"""


def run(given, folder, name, sets):
    out = folder / name
    command = [given.millrace, "run", str(folder / "p.toml"), "--output", str(out), "--set", f"run.steps={given.steps}",
               "--set", f"schedule.groups_per_step={given.rows}", "--set", "run.checkpoint_every=0"]
    for setting in sets + given.set:
        command += ["--set", setting]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    peak = {}
    watcher = threading.Thread(target=watch, args=(process, peak), kwargs={"every_s": 0.2})
    watcher.start()
    errors = process.communicate()[1]
    watcher.join()
    if process.returncode:
        sys.exit(f"{name}: exit status {process.returncode}\n{errors}")
    steps = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    seconds = [step["timing_s/train"] for step in steps[1:]]
    losses = [step["actor/pg_loss"] for step in steps]
    print(f"{name:14} {statistics.median(seconds):8.2f} s a step, most memory of a process "
          f"{max(peak.values()) / 2**20:7.0f} MiB", flush=True)
    return seconds, losses


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--millrace", default=str(ROOT / "build/release/millrace"))
    parser.add_argument("--model", default=str(ROOT / "build/models/smollm2-135m-instruct.gguf"))
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rows", type=int, default=24)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--shard", default="none")
    parser.add_argument("--set", action="append", default=[])
    given = parser.parse_args()
    kinds = {
        "one process": [f"roles.learner.threads={given.ranks}"],
        "ranks": ["roles.learner.threads=1", f"placement.learner.processes={given.ranks}",
                  f"placement.learner.shard={given.shard}"],
        "one thread": ["roles.learner.threads=1"],
    }
    words = "the quick brown fox jumps over a lazy dog while seven wizards count their golden coins".split()
    draw = random.Random(1)
    found = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        rows = [{"prompt": "Say something.", "completion": " ".join(draw.choices(words, k=draw.randint(90, 150)))}
                for _ in range(given.rows * given.steps)]
        (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (folder / "p.toml").write_text(PIPELINE.format(model=given.model, rows=folder / "rows.jsonl"))
        losses = {}
        for turn in range(given.rounds):
            for kind, sets in kinds.items():
                seconds, losses[kind] = run(given, folder, f"{kind} {turn + 1}", sets)
                found[kind] += seconds
    medians = {kind: statistics.median(seconds) for kind, seconds in found.items()}
    same = losses["ranks"] == losses["one thread"]
    print(f"ranks / one process {medians['ranks'] / medians['one process']:.3f}, "
          f"one thread / ranks {medians['one thread'] / medians['ranks']:.3f}, "
          f"losses of ranks and of one thread {'bit for bit the same' if same else 'DIFFER'}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
