#!/usr/bin/env python3
"""Writes JSON lines of answers with the scores that verl's own functions give them.

    make_verl_score_goldens.py VERL GSM8K [--rows N] [--seed S] > tests/golden/verl_scores.jsonl

VERL is a checkout of verl at commit b178a3cd56f58b2d502255daba591e92833930a7: its three files are loaded as they are.
GSM8K is a Parquet file with GSM8K's rows (needs pyarrow). A line: `answer` (the row's), `text` (the model's), `scores`
(a number for each setting in SETTINGS).
"""

import argparse
import contextlib
import importlib.util
import io
import json
import pathlib
import random
import sys

import pyarrow.parquet

SETTINGS = [
    ("gsm8k", {}),
    ("gsm8k", {"method": "flexible"}),
    ("gsm8k", {"method": "strict", "format_score": 0.25, "score": 2.0}),
    ("math_dapo", {}),
    ("math_dapo", {"strict_box_verify": True}),
    ("math_dapo", {"strict_box_verify": True, "pause_tokens_index": [0, 0, 0, 150]}),
    ("math_reward", {}),
]

LATEX = [
    "\\frac{1}{2}", "\\frac12", "\\frac1{2}", "\\frac{1}2", "\\dfrac{3}{4}", "\\tfrac34", "\\frac", "\\frac1", "1/2",
    "-1/2", "01/2", "1/2/3", "1 / 2", "0.5", ".5", "-.5", "{.5}", "\\sqrt3", "\\sqrt{3}", "2\\sqrt2", "\\sqrt", "x=5",
    "x = 5", "xy=5", "abc=5", "a=b=c", "5\\%", "5\\\\%", "5%", "\\$5", "$5$", "$5", "5.$", "$a$b$", "1{,}000", "1,000",
    "1,\\!000", "1,000,000", "90^\\circ", "90^{\\circ}", "12\\text{ cm}", "12\\text{cm}", "12\\text{ m}\\text{ s}",
    "12 cm", "12 inches", "\\text{Monday}", "\\mbox{Monday}", "\\textbf{(A)}", "\\overline{AB}", "\\left(1,2\\right)",
    "(1, 2)", "(1,2)", "\\{1,2\\}", "[0,1)", "x^2+1", "x^{2}+1", "3\\pi", "\\pi/2", "\\boxed{7}", "{7}", "", " ", "=",
    "\\begin{pmatrix}1\\\\2\\end{pmatrix}", "1,2,\\text{and}3", "1\\text{ and }2", "\\text{}", "\\text{}^2", "5\\;",
    "an apple", "a dog", "units", "5 dollars", "\u00bd", "\u0663", "\uff15", "\u2460,\u2461", "1\u20092", "\u00b2,\u00b3",
    "\u4e94", "5\u00a0", "\u3000 5", "\U0001F600", "e\u0301", "\\ldots", "1,2,\\dots", "5\\mathrm{th}", '"5"',
    "\\fracab", "\\frac{a}b", "sqrtx", "fracxyz", "\\text{a}\\text{b}", "\\text{a\nb}", "a\nb", "$a\n$b$", "\\left",
    "2\\cdot3", "10^{-3}", "-5", "--5", "+5", "5.0", "5.", ".", ",", ",,", "1e5", "\\boxed", "\\fbox{3}", "}{", "{{}",
]


def load(verl, name):
    path = pathlib.Path(verl) / "verl" / "utils" / "reward_score" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.compute_score


def noise(dice):
    parts = ["#", "####", "#### ", "\\boxed{", "\\boxed ", "}", "{", "Answer:", "answer :\n", "AN\u017fWER: ", "\n", " ",
             "$", "-", "5", ",", ".", "=", "\\text{", "\\frac", "\\sqrt", "\u00e9", "\U0001F600", "\u2003", "\x1c",
             "\u2028", "a ", "cm"]
    return "".join(dice.choice(parts) for _ in range(dice.randint(1, 12)))


def wrapped(dice, value):
    return dice.choice([
        "#### {}", "####{}", "####  {}", "##### {}", "#### ${}", "#### {}.", "The answer is {}.", "Answer: {}",
        "Answer: ${}$", "answer:{}", "ANSWER : {}", "Answer\n:\n{}", "Answer: {}\nAnswer: ", "Answer: {}\n", "Answer: x = {}",
        "Answer:  \n", "\\boxed{{{}}}", "$\\boxed{{{}}}$", "\\boxed {}", "$\\boxed {}$", "\\fbox{{{}}}", "\\boxed{{{}",
        "\\boxed{{\\boxed{{{}}}}}", "\\boxed{{1}} then \\boxed{{{}}}", "\\boxed{{{}}}}}", "Answer: \\boxed{{{}}}",
        "Answer: **{}**", "An\u017fwer: {}", "#### {} #### {}", "{}", "\\boxed{{x={}}}", "\\boxed{{\\text{{{}}}}}",
        "So it is {} and \\boxed\n{{{}}}", "Answer: {} a $1$ b $2$",
    ]).format(*[value] * 2)


def injured(dice, text):
    for _ in range(dice.randint(1, 3)):
        at = dice.randint(0, len(text))
        text = dice.choice([text[:at], text[at:], text[:at] + noise(dice) + text[at:], text[:at] + text[at + 1:],
                            text[:at] + text[max(0, at - 3):]])
    return text


def one(dice, solutions):
    solution, answer = dice.choice(solutions)
    kind = dice.randint(0, 9)
    if kind < 3:
        text = solution[-dice.randint(20, 160):] if dice.random() < 0.9 else solution
        if kind > 0:
            text = injured(dice, text)
    else:
        value = answer if kind < 5 else dice.choice(LATEX)
        if kind >= 5:
            answer = value if dice.random() < 0.5 else dice.choice(LATEX)
        text = wrapped(dice, value)
        if kind in (4, 6, 7):
            text = injured(dice, text)
        if kind == 8:
            text = noise(dice) + text + noise(dice)
        if kind == 9:
            text = dice.choice([" ", "word ", "\u00e9", "1 "]) * dice.randint(30, 160) + text + " " * dice.randint(0, 110)
    if dice.random() < 0.1:
        answer = injured(dice, answer)
    return text, answer or "0"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("verl")
    parser.add_argument("gsm8k")
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    dice = random.Random(given.seed)
    rows = pyarrow.parquet.read_table(given.gsm8k).to_pylist()
    solutions = []
    for row in rows:
        text = row["answer"] if "answer" in row else row["extra_info"]["answer"]
        solutions.append((text, text.split("#### ")[-1].replace(",", "")))
    functions = {name: load(given.verl, name) for name in ("gsm8k", "math_dapo", "math_reward")}
    for _ in range(given.rows):
        text, answer = one(dice, solutions)
        scores = []
        for name, options in SETTINGS:
            with contextlib.redirect_stdout(io.StringIO()):
                got = functions[name](text, answer, **options)
            scores.append(got["score"] if isinstance(got, dict) else got)
        print(json.dumps({"answer": answer, "text": text, "scores": scores}))


if __name__ == "__main__":
    sys.exit(main())
