#!/usr/bin/env python3
"""Prediction against reality: one schedule is run and recorded, the others are predicted from that one trace by
`millrace plan`, then each is run for real. Prints a Markdown table: seconds a step, trained tokens a second, staleness,
predicted beside measured.

    python3 tools/bench/prediction.py [--millrace build/release/millrace] [--steps 24] [--rounds 1] [--keep FOLDER]
        [--only NAME ...] [--literature] [--ranks] [--episodes]

The job: a random decoder of 13 million parameters, 4 groups of 8 answers a step. An answer ends at a stop string, about one
token in fifty, and not before: lengths are geometric, standard deviation about their mean, cut at 400. The learning rate is
1e-12: the weights are published and staged like any, but lengths do not drift, so that every schedule sees the same
answers. Generation has a process and a thread of its own, training the run's process and one thread.

Pace is that between the end of the first step and that of the last. A round runs every schedule once, in turn; figures are
medians over rounds, those of the prediction too, which is made from the trace of its own round. Exit status 1 if a figure is
out of its bound: 10 % for pace, 0.25 for mean staleness.

--ranks predicts and runs, instead of schedules, learners of two and of four ranks out of the trace of one process: steps of
16 groups in micro-batches of 256 tokens.

--episodes predicts and runs 64 episodes a step, of 4 turns of 32 tokens each, with decoders of 0.1 and of 3 million parameters.
Their environment, a Python class, replies after 100 ms. Nothing is recorded: `millrace plan` measures the machine, and plays episodes,
before each run. Every round is a pair. Its ratios are printed: of trained tokens/s, which the bound is for, and of tokens over
the seconds of a step that are no training.

--literature prints another table of the same runs: what each schedule pays for its speed on a task with a long tail.
"""
import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

from random_policy import PIPELINE, ROOT, settings, write_model

SHAPE = (512, 4, 8, 4, 1536) # of write_model
GROUPS, ANSWERS = 4, 2


def schedule(preset, **keys):
    return [f"schedule.preset={preset}"] + [f"schedule.{name.replace('__', '.')}={value}" for name, value in keys.items()]


# A schedule that overlaps: its trace holds generation, training and staging beside each other, and each of them alone where
# one waits for another.
RECORDED = ("in order, 1 ahead (NeMo)", schedule("nemo_in_order"))
SCHEDULES = [
    ("synchronous", schedule("synchronous")),
    ("one step off", schedule("one_step_off")),
    ("wait, 1 ahead, at most 2 old", schedule("bounded", gate__depth=1, stale__max=2)),
    ("wait, 2 ahead, at most 3 old", schedule("bounded", gate__depth=2, stale__max=3)),
    ("wait, half a step ahead, at most 1 old", schedule("bounded", gate__depth=0.5, stale__max=1)),
    ("count, 1 ahead (SkyRL)", schedule("skyrl", gate__depth=1)),
    ("count, 4 ahead (SkyRL)", schedule("skyrl", gate__depth=4)),
    ("drop, 1 ahead, at most 1 old (prime-rl)", schedule("prime_rl", stale__max=1)),
    ("drop, never waits, freshest of the last version (NeMo)", schedule("nemo_windowed")),
    ("rounds of 1.5 batches, slow groups in a round of their own (RollPacker)",
     schedule("roll_packer", tail__oversample_prompts=1.5, tail__oversample_attempts=1)),
]

# Every group is trained, so that training takes its share of a step.
STEP = ["schedule.groups_per_step=16", "roles.learner.micro_batch_tokens=256", "roles.learner.skip_flat_groups=false",
        "placement.learner.processes=1"]


def ranks(number, shard="none"):
    return schedule("synchronous") + STEP[:-1] + [f"placement.learner.processes={number}", f"placement.learner.shard={shard}"]


GAME = """
import asyncio

class Game:
    def reset(self, row):
        return row["prompt"]

    async def step(self, messages):
        await asyncio.sleep({reply_s})
        return [{{"role": "user", "content": "go on, 12 + 7"}}], 0.0, False
"""
GAME_ROLE = """
[roles.game]
kind = "environment"
from = ["prompts"]
type = "python"
file = "game.py"
class = "Game"
max_turns = 4
"""
PLAYED = ["roles.rollout.environment=game", "roles.rollout.max_turn_tokens=32", "roles.rollout.stop=[]",
          "roles.rollout.max_new_tokens=500", "roles.rollout.slots=32", "roles.rollout.answers_per_prompt=8",
          "schedule.groups_per_step=8", "roles.learner.skip_flat_groups=false"]
OPEN = ["roles.rollout.open_episodes=64"]
TINY, SMALL = (64, 2, 4, 2, 128), (256, 4, 4, 4, 768) # as SHAPE
# name, model, seconds to a reply, settings
EPISODES = [
    ("tiny, synchronous, 40 open", TINY, 0.1, schedule("synchronous")),
    ("tiny, synchronous, 64 open", TINY, 0.1, schedule("synchronous") + OPEN),
    ("tiny, one step off, 64 open", TINY, 0.1, schedule("one_step_off") + OPEN),
    ("tiny, synchronous, 64 open, replies after 1 s", TINY, 1.0, schedule("synchronous") + OPEN),
    ("small, synchronous, 40 open", SMALL, 0.1, schedule("synchronous")),
    ("small, synchronous, 64 open", SMALL, 0.1, schedule("synchronous") + OPEN),
]

RECORDED_ALONE = ("one process", schedule("synchronous") + STEP)
RANKS = [("2 ranks", ranks(2)), ("2 ranks, shard optimizer", ranks(2, "optimizer")), ("2 ranks, shard full", ranks(2, "full")),
         ("4 ranks", ranks(4)), ("4 ranks, shard full", ranks(4, "full"))]


def called(given, *words):
    environment = dict(os.environ, OMP_WAIT_POLICY="PASSIVE", UCX_HANDLE_ERRORS="none")
    done = subprocess.run([str(given.millrace), *map(str, words)], capture_output=True, text=True, env=environment, cwd=given.folder)
    if done.returncode:
        raise SystemExit(f"millrace {' '.join(map(str, words))}: {done.stderr.strip().splitlines()[-1]}")
    return done.stdout, done.stderr


def run(given, name, sets):
    """Runs a schedule; its figures and its folder."""
    folder = given.folder / name
    called(given, "run", "job.toml", *settings(sets), "--output", folder)
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    first, last = rows[0], rows[-1]
    seconds = last["wall_s"] - first["wall_s"]
    ledger = json.loads((folder / "status.json").read_text())["ledger"]
    tokens = [b["tokens/trained"] - a["tokens/trained"] for a, b in zip([{"tokens/trained": 0}] + rows, rows)]
    train_s = statistics.mean(row["timing_s/train"] for row in rows[1:])
    return {"step_s": seconds / (len(rows) - 1), "train_s": train_s,
            "tokens_per_s": (last["tokens/trained"] - first["tokens/trained"]) / seconds,
            "staleness": sum(n * r["staleness/mean"] for n, r in zip(tokens, rows)) / sum(tokens),
            "staleness_max": max(r["staleness/max"] for r in rows),
            "group_tokens": last["tokens/trained"] / len(rows) / GROUPS,
            "wasted": 1 - ledger["trained"] / ledger["generated"]}, folder


def predict(given, trace, sets):
    out, costs = called(given, "plan", "job.toml", *(["--trace", trace] if trace else []), *settings(sets))
    made, first_train_s = json.loads(out), float(re.search(r"first_train_s=(\S+)", costs).group(1))
    train_s = (made["learner"]["compute"] * made["whole_run_s"] - first_train_s) / given.steps
    return {"step_s": made["step_s"], "train_s": train_s, "tokens_per_s": made["trained_tokens_per_s"], "staleness": made["staleness_mean_by_token"],
            "staleness_max": made["staleness_max"], "group_tokens": made["trained_tokens_per_group"], "wasted": made["wasted_share"]}


def compare_episodes(given, base):
    """Pairs of a prediction and a run. Whether the median of each schedule's pairs is within 10 % of tokens/s: the same
    training in another process takes up to a tenth more or less."""
    print("| schedule | trained tokens/s: measured, predicted, ratio | without the seconds of training |\n|---|---|---|")
    fits = True
    for name, shape, reply_s, sets in EPISODES:
        if given.only and not any(word in name for word in given.only):
            continue
        pairs = []
        for number in range(given.rounds):
            given.folder = base / f"{name.replace(' ', '-').replace(',', '')}-{number + 1}"
            given.folder.mkdir()
            write_model(given.folder / "model", shape)
            (given.folder / "game.py").write_text(GAME.format(reply_s=reply_s))
            (given.folder / "job.toml").write_text(
                PIPELINE.format(steps=given.steps, answers=8, groups=8).replace("[roles.rollout]", GAME_ROLE + "[roles.rollout]"))
            told = predict(given, None, PLAYED + sets)
            pairs.append((run(given, "run", PLAYED + sets)[0], told))
            print(f"{name}: measured, predicted: {pairs[-1]}", file=sys.stderr)
        figures = []
        rates = [("trained", lambda one: one["tokens_per_s"])]
        if "synchronous" in name:
            rates.append(("without training",
                          lambda one: one["tokens_per_s"] * one["step_s"] / (one["step_s"] - one["train_s"])))
        for what, rate in rates:
            ratios = [rate(told) / rate(real) for real, told in pairs]
            figures.append("; ".join(f"{rate(real):.0f}, {rate(told):.0f}: {r:.2f}" for (real, told), r in zip(pairs, ratios)))
            fits = fits and (what != "trained" or abs(statistics.median(ratios) - 1) <= 0.10)
        print(f"| {name} | {' | '.join(figures)} |", flush=True)
    return fits


def medians(rounds):
    return {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}


def prediction_table(results):
    """Markdown, and whether every figure is within its bound."""
    print("| schedule | s a step: measured, predicted | | tokens/s: measured, predicted | | mean staleness: measured, predicted | |")
    print("|---|---|---|---|---|---|---|")
    fits = True
    for name, (real, told) in results.items():
        step, pace = told["step_s"] / real["step_s"] - 1, told["tokens_per_s"] / real["tokens_per_s"] - 1
        stale = told["staleness"] - real["staleness"]
        fits = fits and abs(step) <= 0.10 and abs(pace) <= 0.10 and abs(stale) <= 0.25
        print(f"| {name} | {real['step_s']:.3f}, {told['step_s']:.3f} | {step:+.1%} | {real['tokens_per_s']:.0f}, {told['tokens_per_s']:.0f} "
              f"| {pace:+.1%} | {real['staleness']:.2f}, {told['staleness']:.2f} | {stale:+.2f} |")
    return fits


def literature_table(results):
    print("| schedule | s a step | mean / max staleness | tokens wasted | trained / generated length |")
    print("|---|---|---|---|---|")
    every = results["synchronous"]
    for name, pair in results.items():
        cells = []
        for show in (lambda f, all: f"{f['step_s']:.2f}", lambda f, all: f"{f['staleness']:.2f} / {f['staleness_max']:.0f}",
                     lambda f, all: f"{f['wasted']:.0%}", lambda f, all: f"{f['group_tokens'] / all['group_tokens']:.2f}"):
            cells.append(" · ".join(show(figures, everyone) for figures, everyone in zip(pair, every)))
        print(f"| {name} | " + " | ".join(cells) + " |")
    print("\nFirst measured, then simulated.")


def main():
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--millrace", type=pathlib.Path, default=ROOT / "build/release/millrace")
    ask.add_argument("--steps", type=int, default=24)
    ask.add_argument("--rounds", type=int, default=1)
    ask.add_argument("--keep", type=pathlib.Path, help="where the runs go; a folder that goes away without it")
    ask.add_argument("--only", nargs="*", help="schedules whose names hold one of these words")
    ask.add_argument("--literature", action="store_true")
    ask.add_argument("--ranks", action="store_true")
    ask.add_argument("--episodes", action="store_true")
    given = ask.parse_args()
    given.millrace = given.millrace.resolve()
    with tempfile.TemporaryDirectory() as temporary:
        base = (given.keep or pathlib.Path(temporary)).resolve()
        base.mkdir(parents=True, exist_ok=True)
        if given.episodes:
            return 0 if compare_episodes(given, base) else 1
        recorded, all_of_them = (RECORDED_ALONE, RANKS) if given.ranks else (RECORDED, SCHEDULES)
        wanted = [s for s in all_of_them if not given.only or any(word in s[0] for word in given.only)]
        real, told = {}, {}
        for number in range(given.rounds):
            given.folder = base / f"round-{number + 1}"
            given.folder.mkdir()
            write_model(given.folder / "model", SHAPE)
            (given.folder / "job.toml").write_text(PIPELINE.format(steps=given.steps, answers=ANSWERS, groups=GROUPS))
            figures, trace = run(given, *recorded)
            print(f"recorded {recorded[0]}: {figures['step_s']:.3f} s a step", file=sys.stderr)
            for name, sets in [recorded, *wanted]:
                measured = figures if name == recorded[0] else run(given, name, sets)[0]
                real.setdefault(name, []).append(measured)
                told.setdefault(name, []).append(predict(given, trace, sets))
                print(f"{name}: measured {measured['step_s']:.3f}, predicted {told[name][-1]['step_s']:.3f} s a step", file=sys.stderr)
        results = {name: (medians(real[name]), medians(told[name])) for name in real}
    fits = prediction_table(results)
    if given.literature:
        print()
        literature_table(results)
    return 0 if fits else 1


if __name__ == "__main__":
    sys.exit(main())
