#!/usr/bin/env python3
"""Writes tests/golden/optimizer.json: torch.optim.AdamW with parameter groups and clipping over a few steps, and the
learning-rate schedules of transformers. Usage: make_optimizer_goldens.py (torch 2.11, transformers 5)."""

import json
import math
from pathlib import Path

import torch
import transformers

STEPS = 12
NAMES = ["layers.0.proj.weight", "layers.0.norm.weight", "layers.1.proj.weight", "lm_head.weight"]
SHAPES = [(3, 2), (4,), (2, 3), (2, 2)]


def gradient(step, index, shape):
    """Made up on both sides: no random numbers to agree on."""
    count = math.prod(shape)
    return torch.tensor([math.sin(1 + step * 7 + index * 13 + i) * (1 + index) for i in range(count)]).reshape(shape)


def start(index, shape):
    count = math.prod(shape)
    return torch.tensor([math.cos(index * 5 + i) for i in range(count)]).reshape(shape)


def adamw():
    parameters = {n: torch.nn.Parameter(start(i, s).double()) for i, (n, s) in enumerate(zip(NAMES, SHAPES))}
    groups = [
        {"params": [parameters["lm_head.weight"]], "lr": 0.002, "weight_decay": 0.3},
        {"params": [parameters["layers.0.proj.weight"], parameters["layers.1.proj.weight"]], "weight_decay": 0.1},
        {"params": [parameters["layers.0.norm.weight"]], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=0.01, betas=(0.9, 0.95), eps=1e-8)
    schedule = transformers.get_cosine_schedule_with_warmup(optimizer, 0, STEPS)
    norms = []
    for step in range(STEPS):
        for i, (n, s) in enumerate(zip(NAMES, SHAPES)):
            parameters[n].grad = gradient(step, i, s).double()
        norms.append(torch.nn.utils.clip_grad_norm_(list(parameters.values()), 4.0).item())
        optimizer.step()
        schedule.step()
    return {"norms": norms, "parameters": {n: p.detach().flatten().tolist() for n, p in parameters.items()}}


def course(make):
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = make(optimizer)
    rates = []
    for _ in range(STEPS + 2):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


def wsd(kind):
    return course(lambda o: transformers.get_wsd_schedule(
        o, num_warmup_steps=0, num_decay_steps=4, num_training_steps=STEPS, decay_type=kind, min_lr_ratio=0.25))


def main():
    out = {
        "adamw": adamw(),
        "schedules": {
            "linear": course(lambda o: transformers.get_linear_schedule_with_warmup(o, 0, STEPS)),
            "cosine": course(lambda o: transformers.get_cosine_schedule_with_warmup(o, 0, STEPS)),
            "cosine_floor": course(lambda o: transformers.get_cosine_with_min_lr_schedule_with_warmup(o, 0, STEPS, min_lr_rate=0.25)),
            "wsd_linear": wsd("linear"),
            "wsd_cosine": wsd("cosine"),
            "wsd_sqrt": wsd("1-sqrt"),
        },
    }
    Path(__file__).with_name("optimizer.json").write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()
