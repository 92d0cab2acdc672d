#!/usr/bin/env python3
"""Learning curves of pipelines/arithmetic_*.toml side by side: runs each for real with SmolLM2-135M, one after another, and
prints a Markdown table of mean reward before and after.

    python3 tools/bench/curves.py [--millrace build/release/millrace] [--only rloo drpo ...] [--set run.steps=3 ...]
        [--seeds 1 2 ...] [--output DIR] [--json]

"before" is the mean reward of the first 5 steps, "after" that of the last 10 (fewer where there are fewer); a held-out
column is there where the pipeline has an evaluation: its pass@1 of the first version and of the last. With several seeds
each figure is mean +- standard deviation. An algorithm counts as learnt where "after" is at least twice "before"; if one
did not, or a run failed, the exit status is 1. Minutes are wall clock of the whole process; quiet machines give true ones.
Runs that are in --output already, finished with the same file, are read and not run again.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
ALGORITHMS = {  # pipeline file's name -> what the table calls it
    "arithmetic": "GRPO, one step off",
    "arithmetic_sync": "GRPO, synchronous",
    "arithmetic_bounded": "GRPO, up to two steps ahead",
    "arithmetic_kl": "GRPO with KL",
    "arithmetic_held_out": "GRPO with a held-out set",
    "arithmetic_ppo": "PPO with critic",
    "arithmetic_rloo": "RLOO",
    "arithmetic_reinforce_pp": "REINFORCE++",
    "arithmetic_drpo": "DRPO",
    "arithmetic_remax": "ReMax",
    "arithmetic_dapo": "DAPO",
    "arithmetic_drpo_domain": "DRPO, domain-aware",
    "arithmetic_dr_grpo": "Dr. GRPO",
    "arithmetic_reinforce_pp_baseline": "REINFORCE++ with a baseline",
    "arithmetic_gspo": "GSPO",
    "arithmetic_cispo": "CISPO",
    "arithmetic_sapo": "SAPO",
    "arithmetic_gmpo": "GMPO",
    "arithmetic_topr": "TOPR",
    "arithmetic_vtrace": "V-trace with critic",
}


def rows_of(run):
    file = run / "metrics.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def finished(run, wanted_steps):
    status = run / "status.json"
    if not status.exists():
        return False
    state = json.loads(status.read_text())
    return state["state"] == "finished" and (wanted_steps is None or state["steps"] == wanted_steps)


def train(millrace, pipeline, run, sets):
    """Runs a pipeline. Returns minutes, or None where the run was there already."""
    steps = [int(s.split("=")[1]) for s in sets if s.startswith("run.steps=")]
    if finished(run, steps[-1] if steps else None):
        return None
    command = [str(millrace), "run", str(pipeline), "--output", str(run)]
    for override in sets:
        command += ["--set", override]
    start = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise RuntimeError(lines[-1] if lines else f"exit status {done.returncode}")
    return (time.monotonic() - start) / 60


def figures_of(run, minutes):
    rows = rows_of(run)
    rewards = [row["reward"] for row in rows if row.get("reward") is not None]
    held_out = [row for row in rows if any(name.startswith("evaluation/") for name in row)]
    found = {
        "before": statistics.mean(rewards[:5]),
        "after": statistics.mean(rewards[-10:]),
        "steps": len(rewards),
        "minutes": json.loads((run / "status.json").read_text())["elapsed_s"] / 60 if minutes is None else minutes,
    }
    if held_out:
        passed = [next(v for name, v in row.items() if name.endswith("/pass@1")) for row in sorted(held_out, key=lambda r: r["step"])]
        found["held_out_before"], found["held_out_after"] = passed[0], passed[-1]
    return found


def shown(values, digits=3):
    mean = f"{statistics.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.{digits}f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--millrace", type=pathlib.Path, default=ROOT / "build/release/millrace")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="algorithms: the part of the file's name behind arithmetic_")
    parser.add_argument("--set", action="append", default=[], dest="sets", help="as of `millrace run`, for every pipeline")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    parser.add_argument("--output", type=pathlib.Path, help="where the runs are kept; default: a temporary folder")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    names = [name for name in ALGORITHMS if (ROOT / "pipelines" / f"{name}.toml").exists()]
    if given.only:
        wanted = {"arithmetic" if name in ("grpo", "arithmetic") else f"arithmetic_{name}" for name in given.only}
        if unknown := wanted - set(names):
            parser.error("no such pipeline: " + ", ".join(sorted(unknown)) + "; there are " + ", ".join(names))
        names = [name for name in names if name in wanted]

    folder = given.output or pathlib.Path(tempfile.mkdtemp(prefix="millrace-curves-"))
    results, failed = {}, False
    for name in names:
        try:
            figures = []
            for seed in given.seeds:
                run = (folder / f"{name}-seed{seed}").absolute()
                print(f"{name}, seed {seed} ...", file=sys.stderr, flush=True)
                minutes = train(given.millrace, ROOT / "pipelines" / f"{name}.toml", run, given.sets + [f"run.seed={seed}"])
                figures.append(figures_of(run, minutes))
            results[name] = {key: [f[key] for f in figures] for key in figures[0]}
        except (RuntimeError, OSError, KeyError) as error:
            failed = True
            results[name] = {"error": str(error)}
    if given.json:
        print(json.dumps(results))
    else:
        print("| algorithm | reward, first 5 steps | reward, last 10 steps | held-out pass@1 | steps | minutes | file |")
        print("|---|---|---|---|---|---|---|")
        for name, found in results.items():
            if "error" in found:
                print(f"| {ALGORITHMS[name]} | failed: {found['error']} | | | | | `pipelines/{name}.toml` |")
                continue
            held_out = (f"{shown(found['held_out_before'])} -> {shown(found['held_out_after'])}" if "held_out_before" in found else "")
            learnt = statistics.mean(found["after"]) >= max(2 * statistics.mean(found["before"]), 1e-9)
            failed = failed or not learnt
            print(f"| {ALGORITHMS[name]} | {shown(found['before'])} | {shown(found['after'])}{'' if learnt else ' (less than twice)'} | "
                  f"{held_out} | {found['steps'][0]} | {shown(found['minutes'], 1)} | `pipelines/{name}.toml` |")
    if not given.output:
        print(f"runs in {folder}", file=sys.stderr)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
