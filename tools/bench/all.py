#!/usr/bin/env python3
"""Every figure of the first table in docs/measured.md, measured again on this machine and printed as a Markdown table.

    ~/.cache/millrace/peers/bin/python tools/bench/all.py [--build build/release] [--rows grpo sampling ...] [--list]

Builds nothing: wants `millrace`, and for `sampling` tools/bench/bench_sampling (cmake option MILLRACE_BENCHES), in the
build folder. Rows are independent. A row whose peer or program is missing is skipped aloud; one that fails says so, and
the exit status is 1. `quickstart` and `build` take minutes and run only when named. Quiet machines give true figures.
"""
import argparse
import datetime
import json
import os
import pathlib
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
TINY = ROOT / "tests/golden/models/tiny-chat"
ROWS = {}


class skipped(Exception):
    """Why a row cannot be measured here."""


def row(what, bound, on_request=False):
    """Adds a row: the function returns (command, figure)."""
    def add(function):
        ROWS[function.__name__] = (what, bound, on_request, function)
        return function
    return add


def shown(command):
    """A command as a person types it, from the repository's root."""
    words = [str(w).replace(str(ROOT) + "/", "") for w in command]
    return " ".join("python" if w == sys.executable else w for w in words)


def output_of(command, **more):
    done = subprocess.run([str(w) for w in command], cwd=ROOT, capture_output=True, text=True, **more)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise RuntimeError(f"{shown(command)}: {lines[-1] if lines else f'exit status {done.returncode}'}")
    return done.stdout


def need(*modules):
    for module in modules:
        try:
            __import__(module)
        except ImportError as missing:
            raise skipped(f"this Python has no {missing.name}") from missing


def need_file(path, how):
    if not pathlib.Path(path).exists():
        raise skipped(f"no {shown([path])}: {how}")
    return path


# -- speed against the peers -------------------------------------------------------------------------------------------

@row("GRPO step, 4 x 8 answers, at most 64 new tokens, fp32", "3x TRL")
def grpo(given):
    need("torch")
    command = [sys.executable, ROOT / "tools/bench/grpo_step.py", "--millrace", given.millrace, "--model", given.model,
               "--steps", given.steps, "--threads", given.threads]
    programs = json.loads(output_of([*command, "--json"]))["programs"]
    parts = [f"{name} {f['seconds_per_step']:.2f} s" + (f" ({f['ratio']:.1f}x)" if "ratio" in f else "")
             for name, f in programs.items()]
    return command, "; ".join(parts) + ("" if "TRL" in programs else "; TRL skipped")


@row("sampling 48 tokens after 48, fp32", "3x transformers at batch 32")
def sampling(given):
    need("torch", "transformers")
    program = need_file(given.build / "tools/bench/bench_sampling", "configure with -DMILLRACE_BENCHES=ON")
    command = [sys.executable, ROOT / "tools/bench/sampling_peer.py", program, given.model, "--threads", given.threads,
               "--repeat", given.steps]
    lines = [json.loads(line) for line in output_of(command).splitlines()]
    return command, "; ".join(f"batch {x['batch']}: {x['millrace_tokens_per_s']:.0f} against {x['transformers_tokens_per_s']:.0f} "
                              f"tokens/s ({x['ratio']:.1f}x)" for x in lines)


@row("prompts and contexts of thousands of tokens, one thread, CPU time, on AVX2 and AVX-512",
     "prefill 1x transformers on AVX2, 1.5x on AVX-512; a step at 2,000 against 50 1.5x and 1.4x", on_request=True)
def long(given):
    need("torch", "transformers", "accelerate")
    program = need_file(given.build / "tools/bench/bench_sampling", "configure with -DMILLRACE_BENCHES=ON")
    command = [sys.executable, ROOT / "tools/bench/long_contexts.py", program, given.model, "--repeat", given.steps]
    lines = [json.loads(line) for line in output_of(command).splitlines()]
    return command, "; ".join(f"{x.pop('instructions')} " + ", ".join(str(v) for v in x.values()) for x in lines)


# -- agreement with the peers ------------------------------------------------------------------------------------------

@row("log-probabilities of SmolLM2 against transformers, largest difference", "1e-4")
def logits(given):
    need("torch", "transformers", "gguf")
    with tempfile.TemporaryDirectory() as temporary:
        output_of([given.millrace, "convert", given.model, temporary + "/hf"])
        command = [sys.executable, ROOT / "tests/golden/compare_logits.py", given.model, temporary + "/hf", "--millrace",
                   given.millrace]
        text = output_of(command)
    worst = max(float(x) for x in re.findall(r"millrace against transformers: (\S+)", text))
    weights = float(re.search(r"of a weight: (\S+)", text)[1])
    return [w if w != temporary + "/hf" else "FOLDER" for w in command], f"{worst:.1e}; of a weight {weights:.1e}"


@row("logits of SmolLM2 on texts of 1,000 tokens, largest difference from transformers' float64, beside its own float32's",
     "1e-4, where float32 itself is that exact")
def long_logits(given):
    need("torch", "transformers", "gguf")
    program = need_file(given.build / "tools/bench/model_logits", "configure with -DMILLRACE_BENCHES=ON")
    with tempfile.TemporaryDirectory() as temporary:
        output_of([given.millrace, "convert", given.model, temporary + "/hf"])
        command = [sys.executable, ROOT / "tests/golden/compare_logits.py", given.model, temporary + "/hf", "--logits", program]
        text = output_of(command)
    found = {}
    for name, figure in re.findall(r"^(\w+), \d+ tokens: transformers in float32 against float64: (\S+)", text, re.M):
        ours = re.findall(rf"^{name}, .*, (\w+): .* against float64: (\S+);", text, re.M)
        found[name] = ", ".join(f"{path} {x}" for path, x in ours) + f" (transformers {figure})"
    return [w if w != temporary + "/hf" else "FOLDER" for w in command], "; ".join(f"{n}: {t}" for n, t in found.items())


@row("log-probabilities of tiny random Llama 3, Qwen2, Qwen3 against transformers, largest difference", "1e-4")
def families(given):
    need("torch", "transformers")
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM
    vocabulary = json.loads((TINY / "config.json").read_text())["vocab_size"]
    size = dict(vocab_size=vocabulary, hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4,
                num_key_value_heads=2, max_position_embeddings=512, bos_token_id=0, eos_token_id=2, pad_token_id=0)
    llama3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                  original_max_position_embeddings=64, rope_theta=500000.0)
    makers = {"Llama 3": lambda: LlamaForCausalLM(LlamaConfig(**size, rope_parameters=llama3)),
              "Qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**size)),
              "Qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**size, head_dim=16))}
    found = {}
    for name, make in makers.items():
        torch.manual_seed(1)
        model = make().float().eval()
        with torch.no_grad():
            for label, parameter in model.named_parameters():
                parameter.copy_(1 + 0.2 * torch.randn_like(parameter) if "norm" in label else 0.15 * torch.randn_like(parameter))
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder)
            for part in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
                shutil.copy(TINY / part, folder)
            tokens = torch.randint(3, vocabulary, (16, 200))
            rows = pathlib.Path(folder, "rows.jsonl")
            rows.write_text("".join(json.dumps({"prompt_tokens": t[:1], "tokens": t[1:]}) + "\n" for t in tokens.tolist()))
            out = output_of([given.millrace, "score", folder, "--file", rows]).splitlines()
            with torch.no_grad():
                want = model(tokens).logits.log_softmax(-1)[:, :-1].gather(2, tokens[:, 1:, None])[..., 0]
        got = torch.tensor([json.loads(line)["logprobs"] for line in out])
        found[name] = (got - want).abs().max().item()
    return ["tools/bench/all.py", "--rows", "families"], "; ".join(f"{name} {worst:.1e}" for name, worst in found.items())


@row("token ids against tokenizers, 100,000 lines each", "equal")
def tokens(given):
    need("tokenizers", "gguf")
    command = [sys.executable, ROOT / "tests/golden/compare_tokenizer.py", "--millrace", given.millrace, "--gguf", given.model]
    done = subprocess.run([str(w) for w in command], cwd=ROOT, capture_output=True, text=True)
    found = re.findall(r"^(\S+): (\d+) lines.* (\d+) lines of ids differ, (\d+) texts differ", done.stdout, re.M)
    if not found:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    return command, "; ".join(f"{name}: {ids} lines differ" for name, _, ids, _ in found)


# -- times of the whole program ----------------------------------------------------------------------------------------

@row("process start to first token, tiny model", "1 s")
def start(given):
    command = [given.millrace, "generate", TINY, "--prompt", "hi", "--max-new-tokens", "1"]
    times = []
    for _ in range(10):
        began = time.perf_counter()
        with subprocess.Popen([str(w) for w in command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as running:
            if not running.stdout.readline():
                raise RuntimeError("no token came")
            times.append(time.perf_counter() - began)
    return command, f"{statistics.median(times):.2f} s (median of 10; worst {max(times):.2f} s)"


TINY_PIPELINE = """
[run]
name = "killed"
steps = 100000
[models.tiny]
path = {model}
[roles.prompts]
kind = "source"
generator = {{ type = "arithmetic" }}
[roles.rollout]
kind = "rollout"
from = ["prompts"]
model = "tiny"
answers_per_prompt = 4
max_new_tokens = 200
slots = 16
[roles.rules]
kind = "rule_verifier"
from = ["rollout"]
rules = [ {{ type = "number" }} ]
[roles.learner]
kind = "policy"
from = ["rules"]
model = "tiny"
publishes_to = ["rollout"]
[schedule]
preset = "synchronous"
groups_per_step = 4
[placement]
rollout = {{ processes = 2 }}
"""


def wait_until(holds, seconds=30):
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise RuntimeError("it did not happen in 30 s")
        time.sleep(0.001)


def killed_once(given):
    """Seconds from SIGKILL of one of two rollouts until it is noticed, and until its groups were sampled and trained."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        (folder / "killed.toml").write_text(TINY_PIPELINE.format(model=json.dumps(str(TINY))))
        run = folder / "run"
        steps = lambda: (run / "metrics.jsonl").read_bytes().count(b"\n") if (run / "metrics.jsonl").exists() else 0
        log = lambda: (run / "log.txt").read_text() if (run / "log.txt").exists() else ""
        with subprocess.Popen([str(given.millrace), "run", str(folder / "killed.toml"), "--output", str(run)],
                              stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as running:
            try:
                wait_until(lambda: steps() >= 5)
                victim = int(re.search(r" rollout/1 .* as process (\d+)", log())[1])
                os.kill(victim, signal.SIGKILL)
                began, before = time.monotonic(), steps()
                wait_until(lambda: f"process {victim} is gone" in log())
                noticed = time.monotonic() - began
                # The step under way may have had all its answers; the one after it needs every group of the killed one.
                wait_until(lambda: steps() >= before + 2)
                return noticed, time.monotonic() - began
            finally:
                running.send_signal(signal.SIGINT)
                try:
                    running.wait(20)
                except subprocess.TimeoutExpired:
                    running.kill()


@row("SIGKILL of a rollout process until its groups ran elsewhere", "1 s")
def killed(given):
    turns = [killed_once(given) for _ in range(5)]
    noticed, elsewhere = zip(*turns)
    return (["tools/bench/all.py", "--rows", "killed"],
            f"noticed {statistics.median(noticed):.2f} s, sampled and trained elsewhere {statistics.median(elsewhere):.2f} s "
            f"(medians of 5; worst {max(elsewhere):.2f} s)")


@row("quickstart's run", "10 minutes; reward of the last 10 steps twice that of the first 5", on_request=True)
def quickstart(given):
    with tempfile.TemporaryDirectory() as temporary:
        command = [given.millrace, "run", ROOT / "pipelines/arithmetic.toml"]
        began = time.monotonic()
        output_of([*command, "--output", temporary + "/run"])
        minutes = (time.monotonic() - began) / 60
        rewards = [json.loads(line)["reward"] for line in pathlib.Path(temporary, "run/metrics.jsonl").open()]
    first, last = statistics.mean(rewards[:5]), statistics.mean(rewards[-10:])
    return command, f"{minutes:.1f} minutes, {len(rewards)} steps, reward {first:.3f} to {last:.3f}"


@row("build from nothing, then the tests", "15 minutes; 10 minutes", on_request=True)
def build(given):
    clean = os.environ | {"CCACHE_DISABLE": "1"}
    with tempfile.TemporaryDirectory() as temporary:
        copy = pathlib.Path(temporary, "millrace")
        output_of(["git", "clone", "--quiet", ROOT, copy])
        began = time.monotonic()
        subprocess.run([copy / "tools/build"], env=clean, check=True, stdout=sys.stderr)
        built = time.monotonic()
        closing = subprocess.run([copy / "tools/test"], env=clean, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1]
        tested = time.monotonic()
    return ["tools/build &&", "tools/test"], f"{(built - began) / 60:.1f} minutes; tests {(tested - built) / 60:.1f} minutes ({closing})"


# -- the table ---------------------------------------------------------------------------------------------------------

def machine():
    try:
        model = re.search(r"^model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text(), re.M)[1]
    except (OSError, TypeError):
        model = "unknown CPU"
    return f"{model}, {len(os.sched_getaffinity(0))} cores"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release", help="folder with the programs")
    parser.add_argument("--millrace", type=pathlib.Path, help="the program, if it is not in that folder")
    parser.add_argument("--model", type=pathlib.Path, default=ROOT / "build/models/smollm2-135m-instruct.gguf")
    parser.add_argument("--rows", nargs="+", choices=ROWS, metavar="ROW", help="; ".join(ROWS))
    parser.add_argument("--steps", type=int, default=3, help="steps, or repeats, of what is compared in turns")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--list", action="store_true", help="print the rows and stop")
    given = parser.parse_args()
    if given.list:
        for name, (what, bound, on_request, _) in ROWS.items():
            print(f"{name:11} {what}; bound: {bound}{' (only when named)' if on_request else ''}")
        return 0
    given.build = given.build.resolve()
    given.millrace = (given.millrace or given.build / "millrace").resolve()
    need_file(given.millrace, "build it with tools/build")
    chosen = given.rows or [name for name, (_, _, on_request, _) in ROWS.items() if not on_request]

    load = os.getloadavg()[0]
    print(f"{machine()}; {datetime.date.today().isoformat()}; load before {load:.1f}"
          + (" (not quiet: the times below are worse than this machine's)" if load > 0.5 else "") + "\n")
    print("| what | bound | found | command |\n|---|---|---|---|")
    failed = False
    for name in chosen:
        what, bound, _, function = ROWS[name]
        print(f"{name}...", file=sys.stderr)
        try:
            command, figure = function(given)
            print(f"| {what} | {bound} | {figure} | `{shown(command)}` |", flush=True)
        except skipped as reason:
            print(f"| {what} | {bound} | skipped: {reason} | |", flush=True)
        except (RuntimeError, OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError) as error:
            failed = True
            print(f"| {what} | {bound} | FAILED: {error} | |", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
