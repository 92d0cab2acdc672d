#!/usr/bin/env python3
"""What thousands of open episodes take while every one of them waits for its environment: memory as `millrace check --memory`
predicts it against the most (VmHWM) that each process comes to, and threads of the rollout's process.

    python3 tools/bench/waiting_episodes.py [--millrace build/release/millrace] [--episodes 5000] [--only NAME ...]

A random decoder of two layers in a process of its own plays episodes of three turns of 32 tokens, 256 at a time. Each third turn
waits until all episodes are at theirs: then the environment lets the figures be taken, and everybody goes on. Prints what the
rollout is predicted to take and what it took, their ratio, and what it had (VmRSS), and its threads, while all waited. No answer
is right, so that nothing is trained. Exit status 1 if a ratio is further from 1 than 10 %, or if there are more threads than with
64 episodes.
"""
import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import time

from process_memory import watch
from random_policy import ROOT, write_model

SHAPE = (128, 2, 4, 2, 256) # of write_model

GAME = """
import asyncio
import pathlib

HERE = pathlib.Path({folder!r})
third = 0

class Game:
    def reset(self, row):
        self.turns = 0
        return row["prompt"]

    async def step(self, messages):
        global third
        self.turns += 1
        if self.turns == 3:
            third += 1
            if third == {episodes}:
                (HERE / "all-wait").touch()
            while not (HERE / "go-on").exists():
                await asyncio.sleep(0.2)
        return [{{"role": "user", "content": "go on, 12 + 7"}}], 0.0, False
"""
PIPELINE = """
[run]
name = "waiting"
seed = 1
steps = 1
trajectories_fraction = 0
[models.random]
path = "{model}"
[roles.prompts]
kind = "source"
generator = {{ type = "arithmetic" }}
max_prompt_tokens = {prompt}
[roles.game]
kind = "environment"
from = ["prompts"]
type = "python"
file = "{folder}/game.py"
class = "Game"
max_turns = 3
deadline_ms = 600000
[roles.rollout]
kind = "rollout"
from = ["prompts"]
model = "random"
environment = "game"
answers_per_prompt = 8
max_turn_tokens = 32
max_new_tokens = {answer}
slots = 256
threads = 1
open_episodes = {episodes}
[roles.rules]
kind = "rule_verifier"
from = ["rollout"]
rules = [ {{ type = "format", pattern = "Z", match = "search" }} ]
[roles.learner]
kind = "policy"
from = ["rules"]
model = "random"
publishes_to = ["rollout"]
algorithm = "grpo"
optimizer = {{ lr = 1e-12 }}
[placement.rollout]
processes = 1
[schedule]
preset = "synchronous"
groups_per_step = {groups}
"""
CONFIGURATIONS = {
    "keys and values kept": [],
    "cache_bytes = 64 MiB": ['roles.rollout.cache_bytes="64 MiB"'],
}


def status_of(pid):
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: int(re.search(r"\d+", line).group()) for line in lines for name in ("VmRSS", "Threads")
            if line.startswith(name + ":")}


def play(given, base, name, episodes, sets):
    """Predicted and measured bytes by process, and the rollout's status while all wait."""
    folder = base / f"{name.replace(' ', '-').replace('=', '')}-{episodes}"
    folder.mkdir()
    write_model(folder / "model", SHAPE)
    (folder / "game.py").write_text(GAME.format(folder=str(folder), episodes=episodes))
    path = folder / "p.toml"
    path.write_text(PIPELINE.format(model=folder / "model", folder=folder, episodes=episodes, groups=episodes // 8,
                                    prompt=given.prompt, answer=given.answer))
    command = [str(path)] + [word for one in sets for word in ("--set", one)]
    checked = subprocess.run([given.millrace, "check", "--memory", "--json"] + command, capture_output=True, text=True)
    if checked.returncode:
        sys.exit(checked.stderr)
    told = {one["process"]: one for one in json.loads(checked.stdout)["memory"]["processes"]}
    out = folder / "run"
    run = subprocess.Popen([given.millrace, "run"] + command + ["--output", str(out)], stdout=subprocess.DEVNULL,
                           stderr=subprocess.PIPE, text=True)
    peak, waiting = {}, {}

    def let_go_on():
        while run.poll() is None and not (folder / "all-wait").exists():
            time.sleep(0.1)
        if run.poll() is None:
            waiting.update(status_of(pids_of(out)["rollout/0"]))
        (folder / "go-on").touch()

    watchers = [threading.Thread(target=watch, args=(run, peak)), threading.Thread(target=let_go_on)]
    for one in watchers:
        one.start()
    errors = run.communicate()[1]
    for one in watchers:
        one.join()
    if run.returncode or not waiting:
        sys.exit(f"{name}: exit status {run.returncode}\n{errors}")
    names = {"run": run.pid} | pids_of(out)
    row = json.loads((out / "metrics.jsonl").read_text().splitlines()[0])
    return told, {who: peak[pid] for who, pid in names.items()}, waiting, row


def pids_of(out):
    log = (out / "log.txt").read_text()
    return {name: int(pid) for name, pid in re.findall(r"info +(\S+) +started (?:again )?as process (\d+)", log)}


def main():
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--millrace", default=str(ROOT / "build/release/millrace"))
    ask.add_argument("--episodes", type=int, default=5000)
    ask.add_argument("--prompt", type=int, default=25, help="max_prompt_tokens: as long as they are")
    ask.add_argument("--answer", type=int, default=150, help="max_new_tokens: a little more than the third turn comes to")
    ask.add_argument("--only", action="append", default=[])
    given = ask.parse_args()
    fits = True
    with tempfile.TemporaryDirectory() as scratch:
        for name, sets in CONFIGURATIONS.items():
            if given.only and name not in given.only:
                continue
            few = play(given, pathlib.Path(scratch), name, 64, sets)[2]["Threads"]
            told, peak, waiting, row = play(given, pathlib.Path(scratch), name, given.episodes, sets)
            print(f"{name}: {given.episodes} episodes of {row['response_length/mean']:.0f} tokens and "
                  f"{row['tokens/observed'] / given.episodes:.0f} observed; while all wait the rollout has "
                  f"{waiting['VmRSS'] / 1024:.0f} MiB and {waiting['Threads']} threads ({few} with 64 episodes)")
            told, bytes = told["rollout/0"], peak["rollout/0"]
            ratio = told["bytes"] / bytes
            parts = ", ".join(f"{part['kind']} {part['bytes'] / 2**20:.0f}" for part in told["parts"])
            print(f"  predicted {told['bytes'] / 2**20:.0f} MiB, measured {bytes / 2**20:.0f}: {ratio:.3f}  ({parts})", flush=True)
            fits = fits and abs(ratio - 1) <= 0.1 and waiting["Threads"] <= few
    return 0 if fits else 1


if __name__ == "__main__":
    sys.exit(main())
