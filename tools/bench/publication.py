#!/usr/bin/env python3
"""Seconds from a version's publication to the last rollout that holds it, with 4 rollouts in processes of their own and with
one, and how often the publisher sends the model.

    python3 tools/bench/publication.py [--millrace build/release/millrace] [--rollouts 4] [--steps 6] [--rounds 1]
        [--transport auto tcp ...]

A random decoder of 126 million parameters (504 MB), GRPO, `synchronous`: nobody samples or trains while a version is on its way.
"auto" maps the publisher's memory, "tcp" copies every byte, as between hosts. The trace says when a rollout asked for a
version, had pulled it, and had laid it out for sampling. A publication begins when the first rollout asks. The first version
is left out: its memory is new. Medians over versions and rounds. Exit status 1 if 4 rollouts take more than 1.5 times as long
as one, or if the publisher sends more than two models a version.
"""
import argparse
import collections
import json
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

from random_policy import PIPELINE, ROOT, settings, write_model

SHAPE = (1024, 10, 16, 16, 2816) # of write_model
JOB = ["run.trajectories_fraction=0", "schedule.preset=synchronous", "roles.rollout.max_new_tokens=2", "roles.rollout.slots=4",
       "roles.rollout.stop=[]", "roles.learner.skip_flat_groups=false", "roles.learner.threads=0", "placement.learner.processes=1"]


def versions_of(trace):
    """By version: (first asked, last pulled, last laid out, seconds of each layout), in seconds."""
    text = trace.read_text().rstrip().rstrip(",")
    spans = collections.defaultdict(lambda: ([], [], [], []))
    for event in json.loads(text if text.endswith("]") else text + "]"):
        if found := re.fullmatch(r"(pull|layout of) version (\d+)", event.get("name", "")):
            asked, pulled, laid_out, took = spans[int(found[2])]
            end = event["ts"] + event["dur"]
            if found[1] == "pull":
                asked.append(event["ts"] / 1e6)
                pulled.append(end / 1e6)
            else:
                laid_out.append(end / 1e6)
                took.append(event["dur"] / 1e6)
    return {v: (min(a), max(p), max(l), took) for v, (a, p, l, took) in spans.items() if l}


def measured(given, folder, model, transport, rollouts):
    """Medians: seconds to the last pull, to the last layout, of a layout; models that the publisher sent a version."""
    folder.mkdir()
    (folder / "p.toml").write_text(PIPELINE.format(steps=given.steps, answers=2, groups=4))
    sets = JOB + [f"models.random.path={model}", f"placement.transport={transport}", f"placement.rollout.processes={rollouts}"]
    done = subprocess.run([given.millrace, "run", folder / "p.toml", "--output", folder / "run", *settings(sets)],
                          capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr[-2000:])
    versions = versions_of(folder / "run/trace.json")
    if len(versions) < 3:
        sys.exit(f"only {len(versions)} versions were published")
    first, *later = [versions[v] for v in sorted(versions)]
    lanes = json.loads((folder / "run/status.json").read_text())["lanes"]
    sent = sum(lane["bytes_pulled"] - lane["bytes_mapped"] for lane in lanes
               if lane["from"] == "learner/0" and lane["to"].startswith("rollout"))
    bytes_of_model = (model / "model.safetensors").stat().st_size
    return (statistics.median(p - a for a, p, l, t in later), statistics.median(l - a for a, p, l, t in later),
            statistics.median(x for a, p, l, t in later for x in t), sent / bytes_of_model / len(versions))


def main():
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--millrace", default=str(ROOT / "build/release/millrace"))
    ask.add_argument("--rollouts", type=int, default=4)
    ask.add_argument("--steps", type=int, default=6)
    ask.add_argument("--rounds", type=int, default=1)
    ask.add_argument("--transport", nargs="+", default=["auto", "tcp"])
    given = ask.parse_args()
    fits = True
    with tempfile.TemporaryDirectory() as scratch:
        base = pathlib.Path(scratch)
        write_model(base / "model", SHAPE)
        for transport in given.transport:
            found = collections.defaultdict(list)
            for round in range(given.rounds):
                for rollouts in (1, given.rollouts):
                    one = measured(given, base / f"{transport}-{round}-{rollouts}", base / "model", transport, rollouts)
                    found[rollouts].append(one)
                    print(f"{transport}, {rollouts} rollouts: all pulled after {one[0]:.3f} s, laid out after {one[1]:.3f} s "
                          f"(a layout takes {one[2]:.3f} s); the publisher sent {one[3]:.2f} models a version", flush=True)
            one, many = ([statistics.median(x) for x in zip(*found[n])] for n in (1, given.rollouts))
            print(f"{transport}: {given.rollouts} against 1: {many[1] / one[1]:.2f} until it is held ({many[0] / one[0]:.2f} until "
                  f"it is pulled)")
            fits = fits and many[1] <= 1.5 * one[1] and many[3] <= 2.01
    return 0 if fits else 1


if __name__ == "__main__":
    sys.exit(main())
