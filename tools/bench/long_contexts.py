#!/usr/bin/env python3
"""Prompts and contexts of thousands of tokens, side by side: tools/bench/bench_sampling and transformers on one model.

    ~/.cache/millrace/peers/bin/python tools/bench/long_contexts.py build/release/tools/bench/bench_sampling MODEL.gguf
        [--before PROGRAM] [--threads 1] [--repeat 2] [--instructions avx2 avx512] [--rows prefill-1024 ...]

Rows of CPU time, for each instruction set: prefill of one prompt of so many tokens (transformers computes the logits of
the last token alone, as Millrace does), and a decode step of one or eight answers at a context of 50 or 2,000 tokens,
the eight with a prompt each or all with one. --before names an earlier build of bench_sampling that is measured in turns
with this one. The best of the repeats counts. With avx2 LibTorch, oneDNN and MKL are held to AVX2 too. CPU time, because
it does not count what other programs on the machine do; with more than one thread it counts those that wait in a loop
for others. Prints one JSON line a row; `step at 2000 / at 50` compares decode steps of the rows before.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import time

# What holds the libraries under transformers to an instruction set.
HELD = {"avx2": dict(ATEN_CPU_CAPABILITY="avx2", ONEDNN_MAX_CPU_ISA="AVX2", MKL_ENABLE_INSTRUCTIONS="AVX2"), "avx512": {}}
NEW_TOKENS = 12

PREFILLS = {"prefill-1024": 1024, "prefill-4096": 4096}
DECODES = {  # batch, answers of a prompt, context
    "decode-1-50": (1, 1, 50), "decode-1-2000": (1, 1, 2000), "decode-8-50": (8, 1, 50), "decode-8-2000": (8, 1, 2000),
    "decode-8-2000-one-prompt": (8, 8, 2000)}


def transformers_prefill(path, tokens, threads):
    """CPU seconds of one prefill, in this process."""
    import torch
    from sampling_peer import load_model
    torch.set_num_threads(threads)
    model = load_model(path)
    ids = torch.tensor([[(t * 7919 + 13) % model.config.vocab_size for t in range(tokens)]])
    times = []
    for _ in range(2):  # the first call also warms LibTorch up
        start = time.process_time()
        with torch.inference_mode():
            model(ids, use_cache=True, logits_to_keep=1)
        times.append(time.process_time() - start)
    return min(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--before")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--instructions", nargs="+", choices=HELD, default=list(HELD))
    parser.add_argument("--rows", nargs="+", choices=[*PREFILLS, *DECODES], default=[*PREFILLS, *DECODES])
    parser.add_argument("--transformers", type=int, metavar="TOKENS", help=argparse.SUPPRESS)
    args = parser.parse_args()
    path = args.model.resolve()
    if args.transformers:
        print(transformers_prefill(path, args.transformers, args.threads))
        return

    def run(command, instructions):
        env = os.environ | HELD[instructions] | dict(MILLRACE_INSTRUCTIONS=instructions, OMP_NUM_THREADS=str(args.threads))
        return subprocess.run([str(word) for word in command], env=env, check=True, capture_output=True, text=True).stdout

    def sampling(program, instructions, batch, prompt_tokens, new_tokens, answers=1, prefill_rows=512):
        return json.loads(run([program, path, "--threads", args.threads, "--batch", batch, "--answers", answers, "--repeat", 1,
                               "--prompt-tokens", prompt_tokens, "--new-tokens", new_tokens, "--prefill-rows", prefill_rows],
                              instructions))

    programs = {"millrace": args.program} | ({"before": args.before} if args.before else {})

    def show(row, instructions, unit, figures):
        figures = {who: min(times) for who, times in figures.items()}
        ours = figures["millrace"]
        print(json.dumps({"row": row, "instructions": instructions, "unit": unit}
                         | {who: round(value, 3) for who, value in figures.items()}
                         | {f"{who} / millrace": round(value / ours, 2) for who, value in figures.items() if value != ours}),
              flush=True)
        return ours

    for instructions in args.instructions:
        steps = {}
        for row in args.rows:
            figures = {who: [] for who in programs}
            if row in PREFILLS:
                figures["transformers"] = []
            for _ in range(args.repeat):
                for who, program in programs.items():
                    if row in PREFILLS:
                        figures[who].append(sampling(program, instructions, 1, PREFILLS[row], 1)["prefill_cpu_s"])
                    else:
                        batch, answers, context = DECODES[row]
                        prompt = context - NEW_TOKENS // 2
                        line = sampling(program, instructions, batch, prompt, NEW_TOKENS, answers,
                                        prefill_rows=batch * prompt)  # all answers begin to decode together
                        figures[who].append(line["cpu_ms_per_decode_step"])
                if row in PREFILLS:
                    figures["transformers"].append(float(run([sys.executable, __file__, args.program, path, "--transformers",
                                                              PREFILLS[row], "--threads", args.threads], instructions)))
            steps[row] = show(row, instructions, "CPU s" if row in PREFILLS else "CPU ms a step", figures)
        ratios = {row: round(steps[row] / steps[base], 2) for row in steps if row in DECODES and DECODES[row][2] == 2000
                  and (base := f"decode-{DECODES[row][0]}-50") in steps}
        if ratios:
            print(json.dumps({"row": "step at 2000 / at 50", "instructions": instructions} | ratios), flush=True)


if __name__ == "__main__":
    main()
