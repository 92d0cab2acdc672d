#!/usr/bin/env python3
"""What bfloat16 and int8 change of log-probabilities: each line is one synchronous step of pipelines/gsm8k.toml with
SmolLM2, the same prompts and seeds, and says how far what the rollout stamped is from what the learner computes for the
same tokens, in fp32 or as COMPUTE_DTYPE says.

    python tools/bench/precision.py TRAIN.parquet [--program build/release/millrace] [--model MODEL] [--groups 8]
        [--kept DTYPE,CACHE_DTYPE[,ROLLOUT_DTYPE[,COMPUTE_DTYPE]] ...]

The Python that runs it needs pyarrow.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]


def measured(given, dtype, cache_dtype, rollout_dtype=None, compute_dtype="float32"):
    with tempfile.TemporaryDirectory() as folder:
        sets = {"run.steps": 1, "run.checkpoint_every_s": 0, "roles.questions.file": given.data,
                "roles.questions.python": sys.executable, "models.smol.path": given.model, "models.smol.dtype": dtype,
                "roles.rollout.cache_dtype": cache_dtype, "roles.learner.compute_dtype": compute_dtype, "schedule.preset": "synchronous",
                "schedule.groups_per_step": given.groups, "roles.learner.optimizer.warmup_steps": 0}
        if rollout_dtype:
            sets["models.smol.rollout_dtype"] = rollout_dtype
        command = [given.program, "run", ROOT / "pipelines/gsm8k.toml", "--output", f"{folder}/run"]
        for key, value in sets.items():
            command += ["--set", f"{key}={value}"]
        done = subprocess.run([str(word) for word in command], cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr.strip().splitlines()[-1])
        step = json.loads(pathlib.Path(folder, "run/metrics.jsonl").read_text().splitlines()[0])
    return {"dtype": dtype, "cache_dtype": cache_dtype, "rollout_dtype": rollout_dtype or dtype,
            "compute_dtype": compute_dtype,
            "tokens": step["tokens/trained"],
            "mean_difference": step["rollout/logprob_mean_difference"],
            "largest_difference": step["rollout/logprob_max_difference"], "mismatch_kl": step["mismatch_kl"]}


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("data", type=pathlib.Path)
    arguments.add_argument("--program", type=pathlib.Path, default=ROOT / "build/release/millrace")
    arguments.add_argument("--model", type=pathlib.Path, default=ROOT / "build/models/smollm2-135m-instruct.gguf")
    arguments.add_argument("--groups", type=int, default=8)
    arguments.add_argument("--kept", nargs="+", type=lambda text: text.split(","),
                           metavar="DTYPE,CACHE_DTYPE[,ROLLOUT_DTYPE[,COMPUTE_DTYPE]]",
                           default=[["float32", "float32"], ["bfloat16", "float32"], ["bfloat16", "bfloat16"],
                                    ["float32", "float32", "int8"]])
    given = arguments.parse_args()
    for kept in given.kept:
        print(json.dumps(measured(given, *kept)), flush=True)


if __name__ == "__main__":
    main()
