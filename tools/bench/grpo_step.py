#!/usr/bin/env python3
"""One GRPO step of SmolLM2-135M, side by side: `millrace run` and TRL's GRPOTrainer, in turns, on the same prompts.

    ~/.cache/millrace/peers/bin/python tools/bench/grpo_step.py [--millrace build/release/millrace] [--steps 3]
        [--threads 2] [--rounds 1] [--presets synchronous one_step_off] [--no-trl] [--json]

A step: 4 prompts of about 48 tokens x 8 answers of at most 64 new tokens, temperature 1, beta 0, fp32, the reward is
whether the last number is the sum. Each program gets the same thread budget and the same rows in the same order. The
first step is warm-up and stands apart; the run has one step more than is counted, since one_step_off has nothing to
generate beside the last. A round is millrace (every preset), TRL, millrace again; figures are means over all of its
steps. --json prints one object instead of words. Needs torch, transformers, trl, datasets; without them TRL is skipped.
"""
import argparse
import json
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import time

PARAMETERS = 134_515_008
TRAINED_GFLOP, SAMPLED_GFLOP = 6e-9 * PARAMETERS, 2e-9 * PARAMETERS  # a token

PIPELINE = """
[run]
name = "grpo_step"
steps = {steps}
[models.smol]
path = {model}
[roles.prompts]
kind = "source"
file = {rows}
shuffle = false
[roles.rollout]
kind = "rollout"
from = ["prompts"]
model = "smol"
answers_per_prompt = {answers}
max_new_tokens = {new_tokens}
slots = {slots}
{rollout_threads}
[roles.rules]
kind = "rule_verifier"
from = ["rollout"]
rules = [ {{ type = "number" }} ]
[roles.learner]
kind = "policy"
from = ["rules"]
model = "smol"
publishes_to = ["rollout"]
algorithm = "grpo"
optimizer = {{ lr = {lr} }}
{learner_threads}
[schedule]
preset = "{preset}"
groups_per_step = {groups}
"""


def write_rows(path, count):
    draw = random.Random(1)
    with path.open("w") as out:
        for _ in range(count):
            a, b = draw.randint(10, 99), draw.randint(10, 99)
            prompt = [{"role": "user", "content": f"What is {a} plus {b}? Reply with the number only."}]
            out.write(json.dumps({"prompt": prompt, "answer": str(a + b)}) + "\n")


# -- TRL, in a process of its own --------------------------------------------------------------------------------------

def last_number_is(answer, text):
    """Millrace's `number` rule for whole numbers."""
    found = re.findall(r"-?\d[\d,]*(?:\.\d+)?", text)
    try:
        return 1.0 if found and float(found[-1].replace(",", "")) == float(answer) else 0.0
    except ValueError:
        return 0.0


def trl_worker(spec):
    import torch
    torch.set_num_threads(spec["threads"])
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    model = AutoModelForCausalLM.from_pretrained(spec["model"], dtype=torch.float32)
    words = AutoTokenizer.from_pretrained(spec["model"])
    with open(spec["rows"]) as file:
        rows = [json.loads(line) for line in file]
    ends, tokens = [], []

    def reward(completions, completion_ids, answer, **_):
        tokens.append(sum(map(len, completion_ids)))
        return [last_number_is(a, c[0]["content"]) for a, c in zip(answer, completions)]

    class clock(TrainerCallback):
        def on_step_begin(self, *_, **__):
            if not ends:
                ends.append(time.perf_counter())

        def on_step_end(self, *_, **__):
            ends.append(time.perf_counter())

    config = GRPOConfig(
        output_dir=spec["folder"], per_device_train_batch_size=spec["groups"] * spec["answers"],
        num_generations=spec["answers"], gradient_accumulation_steps=1, max_completion_length=spec["new_tokens"],
        temperature=1.0, beta=0.0, learning_rate=spec["lr"], lr_scheduler_type="constant", max_steps=spec["steps"],
        bf16=False, use_cpu=True, gradient_checkpointing=spec["checkpointing"], shuffle_dataset=False,
        save_strategy="no", report_to="none", logging_steps=1, disable_tqdm=True, dataloader_pin_memory=False)
    trainer = GRPOTrainer(model=model, reward_funcs=reward, args=config, train_dataset=Dataset.from_list(rows),
                          processing_class=words, callbacks=[clock()])
    trainer.train()
    prompts = [len(words.apply_chat_template(r["prompt"], add_generation_prompt=True, return_dict=True)["input_ids"])
               for r in rows]
    per_step = spec["groups"]
    steps = [{"seconds": b - a, "answer_tokens": n, "prompt_tokens": sum(prompts[i * per_step:(i + 1) * per_step])}
             for i, (a, b, n) in enumerate(zip(ends, ends[1:], tokens))]
    pathlib.Path(spec["out"]).write_text(json.dumps(steps))


def run_trl(given, folder, turn):
    out = folder / f"trl-{turn}.json"
    spec = {"model": str(hugging_face_folder(given)), "rows": str(folder / "rows.jsonl"), "out": str(out),
            "folder": str(folder / f"trl-{turn}"), "threads": given.threads, "groups": given.groups,
            "answers": given.answers, "new_tokens": given.new_tokens, "lr": given.lr, "steps": given.steps + 1,
            "checkpointing": given.trl_checkpointing}
    environment = os.environ | {"OMP_NUM_THREADS": str(given.threads), "HF_HUB_OFFLINE": "1",
                                "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run([sys.executable, __file__, "--trl-worker", json.dumps(spec)], env=environment,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        print(f"TRL skipped: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return None
    steps = json.loads(out.read_text())
    return {"warm_up": steps[0]["seconds"], "steps": steps[1:]}


def hugging_face_folder(given):
    """SmolLM2 as TRL reads it, converted once."""
    folder = given.hf or pathlib.Path.home() / ".cache/millrace/smollm2-135m-instruct-hf"
    if not folder.exists():
        part = folder.with_name(folder.name + f".{os.getpid()}")
        subprocess.run([given.millrace, "convert", str(given.model), str(part)], check=True)
        part.rename(folder)
    return folder


# -- Millrace ----------------------------------------------------------------------------------------------------------

def run_millrace(given, folder, preset, turn):
    quote = lambda path: json.dumps(str(path))
    # One after the other, each role may have every thread; side by side they share them.
    threads = f"threads = {given.threads}" if preset == "synchronous" else f"threads = {max(1, given.threads // 2)}"
    file, out = folder / f"{preset}.toml", folder / f"{preset}-{turn}"
    file.write_text(PIPELINE.format(
        steps=given.steps + 2, model=quote(given.model.resolve()), rows=quote(folder / "rows.jsonl"), lr=given.lr,
        answers=given.answers, new_tokens=given.new_tokens, slots=given.groups * given.answers, preset=preset,
        groups=given.groups, rollout_threads=threads, learner_threads=threads))
    done = subprocess.run([given.millrace, "run", str(file), "--output", str(out)], stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"millrace run {preset} failed: {done.stderr.strip().splitlines()[-1]}")
    rows = [json.loads(line) for line in (out / "metrics.jsonl").open()]
    answers = given.groups * given.answers
    steps = [{"seconds": r["perf/time_per_step"], "answer_tokens": round(r["response_length/mean"] * answers),
              "prompt_tokens": round(r["tokens/prompt"]), "fed_tokens": round(r["tokens/fed"]),
              "forward": r["timing_s/forward"], "backward": r["timing_s/backward"],
              "optimizer": r["timing_s/optimizer"], "train": r["timing_s/train"],
              "gap": r.get("rollout/logprob_max_difference", 0.0)} for r in rows]
    counted = steps[1:given.steps + 1]
    return {"warm_up": steps[0]["seconds"], "steps": counted, "spans": spans_of(out / "trace.json", given.steps)}


def spans_of(path, steps):
    """Seconds a step of what the trace shows between the ends of the first and the last counted step."""
    events = [e for e in json.loads(path.read_text()) if e["ph"] == "X"]
    end = {e["name"]: e["ts"] + e["dur"] for e in events if e["name"].startswith("train step ")}
    first, last = end["train step 1"], end[f"train step {steps + 1}"]
    sums = {"generate": 0.0, "publish": 0.0, "pull": 0.0, "stage": 0.0}
    for e in events:
        kind = e["name"].split()[0]
        kind = "generate" if kind == "decode" else kind
        if kind in sums:
            sums[kind] += max(0.0, min(e["ts"] + e["dur"], last) - max(e["ts"], first)) * 1e-6 / steps
    return sums


# -- what it comes to --------------------------------------------------------------------------------------------------

def gemm_gflops(threads):
    """The best product of the machine, by MKL and by oneDNN: 1024^3, and the shape most of a step is made of."""
    try:
        import torch
    except ImportError:
        return None
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    best = 0.0
    for rows, inner, columns in ((1024, 1024, 1024), (1248, 576, 1536)):
        a, b = torch.randn(rows, inner), torch.randn(columns, inner)
        for product in (lambda: torch.mm(a, b.t()),
                        lambda: torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], None)):
            for _ in range(30):
                start = time.perf_counter()
                product()
                best = max(best, 2e-9 * rows * inner * columns / (time.perf_counter() - start))
    torch.set_num_threads(before)
    return best


def mean(steps, key):
    return sum(s[key] for s in steps) / len(steps)


def figures(turns):
    steps = [s for t in turns for s in t["steps"]]
    out = {"steps": len(steps), "warm_up_s": round(turns[0]["warm_up"], 2)}
    out |= {"each_s": [round(s["seconds"], 2) for s in steps]}
    seconds, answer, prompt = (mean(steps, k) for k in ("seconds", "answer_tokens", "prompt_tokens"))
    out |= {"seconds_per_step": round(seconds, 3), "answer_tokens_per_step": round(answer, 1),
            "prompt_tokens_per_step": round(prompt, 1), "answer_tokens_per_s": round(answer / seconds, 1)}
    if "forward" in steps[0]:
        parts = {k: mean(steps, k) for k in ("forward", "backward", "optimizer", "train")}
        parts |= {k: sum(t["spans"][k] for t in turns) / len(turns) for k in turns[0]["spans"]}
        parts["rest_of_training"] = parts["train"] - parts["forward"] - parts["backward"] - parts["optimizer"]
        out |= {"parts_s": {k: round(v, 3) for k, v in parts.items()}, "fed_tokens_per_step": round(mean(steps, "fed_tokens"), 1),
                "logprob_max_difference": max(s["gap"] for s in steps)}
    return out


def report(result, given):
    print(f"{given.groups} prompts x {given.answers} answers, at most {given.new_tokens} new tokens, {given.threads} threads, "
          f"fp32; products at best {result['gemm_gflops']} GFLOP/s; load before {result['load_before']}\n")
    print("| program | s/step | each step | answer tokens/s | prompt + answer tokens/s | answer tokens a step | first step (warm-up) | against TRL | per token |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, f in result["programs"].items():
        # As TRL counts: a prompt once for each of its answers.
        both = (f["answer_tokens_per_step"] + f["prompt_tokens_per_step"] * given.answers) / f["seconds_per_step"]
        ratio, per_token = f.get("ratio"), f.get("ratio_per_answer_token")
        print(f"| {name} | {f['seconds_per_step']:.2f} | {', '.join(map(str, f['each_s']))} | {f['answer_tokens_per_s']:.0f} | {both:.0f} | "
              f"{f['answer_tokens_per_step']:.0f} | {f['warm_up_s']:.1f} s | {f'{ratio:.1f}x' if ratio else '-'} | {f'{per_token:.1f}x' if per_token else '-'} |")
    for name, f in result["programs"].items():
        if "parts_s" not in f:
            continue
        p = f["parts_s"]
        print(f"\n{name}, seconds a step: " + ", ".join(f"{k.replace('_', ' ')} {v:.2f}" for k, v in p.items() if k != "train"))
        if "floor_s" in f:
            print(f"  floor of the arithmetic {f['floor_s']['training']:.2f} (training) + {f['floor_s']['generation']:.2f} (generation) s at "
                  f"{result['gemm_gflops']} GFLOP/s: training runs at {f['of_floor']['training']:.0%} of it, generation at {f['of_floor']['generation']:.0%}")
        if f["logprob_max_difference"]:  # off-policy tokens have none
            print(f"  largest difference of a log-probability, rollout and learner: {f['logprob_max_difference']:.1e}")


def add_floor(f, gemm, share):
    """Against the arithmetic; side by side each role has its `share` of the cores."""
    sampled = f["answer_tokens_per_step"] + f["prompt_tokens_per_step"]
    floor = {"training": TRAINED_GFLOP * f["fed_tokens_per_step"] / gemm, "generation": SAMPLED_GFLOP * sampled / gemm}
    f["floor_s"] = {k: round(v, 2) for k, v in floor.items()}
    f["of_floor"] = {"training": round(floor["training"] / f["parts_s"]["train"] / share, 2),
                     "generation": round(floor["generation"] / f["parts_s"]["generate"] / share, 2)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--millrace", default="build/release/millrace")
    parser.add_argument("--model", type=pathlib.Path, default=pathlib.Path("build/models/smollm2-135m-instruct.gguf"))
    parser.add_argument("--hf", type=pathlib.Path, help="the model as a Hugging Face folder for TRL; default: converted once")
    parser.add_argument("--steps", type=int, default=3, help="counted steps of each turn")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--groups", type=int, default=4)
    parser.add_argument("--answers", type=int, default=8)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--lr", type=float, default=1e-6, help="small, so that the answers stay as long as they are")
    parser.add_argument("--presets", nargs="+", default=["synchronous", "one_step_off"])
    parser.add_argument("--no-trl", action="store_true")
    parser.add_argument("--trl-checkpointing", action="store_true", help="TRL's default; off is faster, and so the rival")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--trl-worker", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.trl_worker:
        trl_worker(json.loads(given.trl_worker))
        return

    result = {"load_before": round(os.getloadavg()[0], 2), "programs": {}}
    result["gemm_gflops"] = round(gemm_gflops(given.threads) or 0)
    turns = {}
    with tempfile.TemporaryDirectory(prefix="millrace-grpo-") as temporary:
        folder = pathlib.Path(temporary)
        write_rows(folder / "rows.jsonl", (given.steps + 4) * given.groups)

        def millrace_turn(turn):
            for preset in given.presets:
                turns.setdefault(f"millrace {preset}", []).append(run_millrace(given, folder, preset, turn))

        for turn in range(given.rounds):
            millrace_turn(f"{turn}a")
            if given.no_trl:
                continue
            if theirs := run_trl(given, folder, turn):
                turns.setdefault("TRL", []).append(theirs)
            millrace_turn(f"{turn}b")
    for name, list_of_turns in turns.items():
        result["programs"][name] = figures(list_of_turns)
    theirs = result["programs"].get("TRL")
    for name, f in result["programs"].items():
        if "parts_s" in f and result["gemm_gflops"]:
            add_floor(f, result["gemm_gflops"], 1.0 if name.endswith("synchronous") else 0.5)
        if theirs and f is not theirs:
            f["ratio"] = round(theirs["seconds_per_step"] / f["seconds_per_step"], 2)
            f["ratio_per_answer_token"] = round(f["answer_tokens_per_s"] / theirs["answer_tokens_per_s"], 2)
    if given.json:
        print(json.dumps(result))
    else:
        report(result, given)


if __name__ == "__main__":
    main()
