#!/usr/bin/env python3
"""Writes the rows that pipelines/r1.toml reads, out of GSM8K's own solutions: tools/r1_data.py GSM8K OUT

GSM8K is a folder with train and test: Parquet files as verl's examples/data_preprocess/gsm8k.py writes them (pyarrow
reads them), or JSON lines {"question", "answer"} as OpenAI publishes them. The same folder gives the same files.

    cold_start.jsonl             problems of at most two calculations, with the whole solution as the thought
    reasoning.jsonl              calculations of the solutions: questions with their answers
    kept.jsonl                   other calculations and problems, solved
    all_tasks.jsonl              calculations and problems together: questions with their answers
    held_out_calculations.jsonl  calculations of the test file's solutions that no other file holds
    held_out_problems.jsonl      problems of the test file
"""
import json
import pathlib
import random
import re
import sys

SUFFIX = " Think between <think> and </think>, then reply with the number."
CALCULATION = re.compile(r"<<(\d{1,3}(?:[-+*/]\d{1,3}){1,2})=(\d+)>>")


def fail(line):
    sys.exit("r1_data.py: " + line)


def rows_of(folder, split):
    """(question, solution) of each row."""
    parquet, lines = folder / f"{split}.parquet", folder / f"{split}.jsonl"
    if parquet.exists():
        try:
            import pyarrow.parquet
        except ImportError:
            fail(f"{parquet}: Python {sys.executable} has no pyarrow, want one: pip install pyarrow")
        extra = [row["extra_info"] for row in pyarrow.parquet.read_table(parquet).to_pylist()]
        return [(row["question"], row["answer"]) for row in extra]
    if lines.exists():
        rows = [json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines() if line.strip()]
        return [(row["question"], row["answer"]) for row in rows]
    fail(f"{folder}: found neither {parquet.name} nor {lines.name}, want GSM8K's files")


def thought(text):
    return f"<think>{text.strip()}</think>"


def problems_of(rows):
    """(prompt, completion, answer) of the problems that at most two calculations solve."""
    found = []
    for question, solution in rows:
        worked, _, answer = solution.partition("####")
        answer = answer.strip().replace(",", "")
        if worked.count("<<") <= 2 and re.fullmatch(r"-?\d+", answer):
            worked = re.sub(r"<<[^<>]*>>", "", worked)
            found.append((question.strip() + SUFFIX, f"{thought(worked)}\n{answer}", answer))
    return found


def calculations_of(rows):
    """(prompt, completion, answer) of every different calculation with a whole result."""
    found = {}
    for _, solution in rows:
        for formula, result in CALCULATION.findall(solution):
            found.setdefault(formula, (f"What is {formula}?{SUFFIX}", f"{thought(f'{formula}={result}')}\n{result}", result))
    return list(found.values())


def write(path, rows, names):
    with open(path, "w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps({name: row[at] for name, at in names.items()}) + "\n")
    print(f"{path}: {len(rows)} rows")


def main():
    if len(sys.argv) != 3:
        fail("want tools/r1_data.py GSM8K OUT")
    gsm8k, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    train, test = rows_of(gsm8k, "train"), rows_of(gsm8k, "test")
    order = random.Random(1)
    problems, calculations = problems_of(train), calculations_of(train)
    order.shuffle(problems)
    order.shuffle(calculations)
    seen = {prompt for prompt, _, _ in calculations}
    unseen = [row for row in calculations_of(test) if row[0] not in seen]
    held_out = problems_of(test)
    order.shuffle(unseen)
    order.shuffle(held_out)
    solved, asked = {"prompt": 0, "completion": 1}, {"prompt": 0, "answer": 2}
    a, b = len(problems) // 2, len(calculations) // 2
    kept = problems[a:] + calculations[b : b + len(problems) - a]
    everything = problems + calculations
    order.shuffle(kept)
    order.shuffle(everything)
    out.mkdir(parents=True, exist_ok=True)
    write(out / "cold_start.jsonl", problems[:a], solved)
    write(out / "reasoning.jsonl", calculations[:b], asked)
    write(out / "kept.jsonl", kept, solved)
    write(out / "all_tasks.jsonl", everything, asked)
    write(out / "held_out_calculations.jsonl", unseen[:200], asked)
    write(out / "held_out_problems.jsonl", held_out[:200], asked)


if __name__ == "__main__":
    main()
