#!/usr/bin/env python3
"""What the run's own process, which decides, costs beside many rollout processes: CPU seconds by thread, as a share of a core.

    python3 tools/bench/many_rollouts.py [--millrace build/release/millrace [OTHER ...]] [--processes 64] [--seconds 20]
        [--rounds 1] [--set KEY=VALUE ...]

The job: the tests' tiny model and `bounded`, 32 groups of 8 answers of at most 64 tokens a step. Rollouts, learner and
verifier have processes of their own. The measurement begins when 5 steps are trained and takes so many seconds. Several
programs take turns; each is compared with the first, by the share of a core and by CPU seconds a million trained tokens,
as their rates may differ. Exit status 1 if not everybody was ready within 30 s.
"""
import argparse
import collections
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from random_policy import PIPELINE, ROOT, WORDS, settings

JOB = [f"models.random.path={WORDS}", "run.trajectories_fraction=0", "roles.rollout.max_new_tokens=64", "roles.rollout.stop=[]",
       "placement.rules.processes=1", "placement.learner.processes=1"]


def threads_of(pid):
    """CPU seconds of each thread, by its id: (name, seconds)."""
    found = {}
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try: # it may end meanwhile
            found[task.name] = ((task / "comm").read_text().strip(), int((task / "schedstat").read_text().split()[0]) / 1e9)
        except OSError:
            pass
    return found


class Run:
    """A run that goes on until it is stopped."""

    def __init__(self, millrace, given, folder):
        (folder / "many.toml").write_text(PIPELINE.format(steps=1000000, answers=8, groups=32))
        sets = settings([*JOB, f"placement.rollout.processes={given.processes}", *given.set])
        self.words = tempfile.TemporaryFile()
        self.began = time.monotonic()
        self.process = subprocess.Popen([millrace, "run", folder / "many.toml", "--output", folder / "run", *sets],
                                        stdout=subprocess.DEVNULL, stderr=self.words)
        self.folder = folder / "run"

    def rows(self):
        try:
            return [json.loads(line) for line in (self.folder / "metrics.jsonl").read_text().split("\n")[:-1]]
        except OSError:
            return []

    def ready(self):
        try:
            roles = json.loads((self.folder / "status.json").read_text())["roles"]
        except (OSError, ValueError, KeyError):
            return False
        return roles and all(role["state"] == "ready" for role in roles)

    def wait_for(self, holds, what, seconds=300):
        while not holds():
            if self.process.poll() is not None or time.monotonic() - self.began > seconds:
                self.words.seek(0)
                raise SystemExit(f"no {what} after {time.monotonic() - self.began:.0f} s: "
                                 + self.words.read().decode()[-2000:])
            time.sleep(0.1)
        return time.monotonic() - self.began

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()


def measured(millrace, given):
    """Seconds until all were ready, CPU seconds by thread's name, wall seconds, tokens/s."""
    with tempfile.TemporaryDirectory() as scratch:
        run = Run(millrace, given, pathlib.Path(scratch))
        try:
            ready_s = run.wait_for(run.ready, "process that is ready")
            run.wait_for(lambda: len(run.rows()) >= 5, "five steps")
            before, wall, first = threads_of(run.process.pid), time.monotonic(), len(run.rows())
            time.sleep(given.seconds)
            after, wall, rows = threads_of(run.process.pid), time.monotonic() - wall, run.rows()
        finally:
            run.stop()
    used = collections.Counter()
    for thread, (name, seconds) in after.items():
        used[name] += seconds - before.get(thread, (name, 0))[1]
    tokens = rows[-1]["tokens/trained"] - rows[first - 1]["tokens/trained"]
    took = rows[-1]["wall_s"] - rows[first - 1]["wall_s"]
    return ready_s, used, wall, tokens / took


def main():
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--millrace", nargs="+", default=[str(ROOT / "build/release/millrace")])
    ask.add_argument("--processes", type=int, default=64)
    ask.add_argument("--seconds", type=float, default=20)
    ask.add_argument("--rounds", type=int, default=1)
    ask.add_argument("--set", action="append", default=[], help="a setting of the run")
    given = ask.parse_args()
    shares, costs, slow = collections.defaultdict(list), collections.defaultdict(list), False
    for _ in range(given.rounds):
        for millrace in given.millrace:
            ready_s, used, wall, rate = measured(millrace, given)
            shares[millrace].append(used.total() / wall)
            costs[millrace].append(used.total() / wall / rate * 1e6)
            slow = slow or ready_s > 30
            parts = ", ".join(f"{name} {seconds / wall:.4f}" for name, seconds in used.most_common(8))
            print(f"{millrace}: all ready after {ready_s:.0f} s; {rate:.0f} tokens/s; {used.total() / wall:.4f} of a core, "
                  f"{costs[millrace][-1]:.2f} s a million tokens ({parts}); load {os.getloadavg()[0]:.1f}", flush=True)
    first = given.millrace[0]
    for other in given.millrace[1:]:
        of = [statistics.median(x[other]) / statistics.median(x[first]) for x in (shares, costs)]
        print(f"{other} against {first}: {of[0]:.2f} of the share, {of[1]:.2f} of the seconds a million tokens")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
