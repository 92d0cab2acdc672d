#!/usr/bin/env python3
"""Writes tests/golden/corrections.json: weights, anchors and V-trace targets by the functions of other programs.

    make_correction_goldens.py SOURCES

SOURCES holds checkouts (or just the files named below) of verl, AReaL, slime, prime-rl, trl, Archer2.0 and torchbeast.
Functions are taken out of those files by name, so that none of their packages has to be installed; needs torch.
"""

import __future__

import ast
import json
import logging
import math
import pathlib
import sys
import types
import typing
from dataclasses import dataclass

import torch

torch.set_default_dtype(torch.float64)


def functions(path, names, extra=(), exact=False):
    """The named top-level functions and classes (and static methods) of a file. exact: its float() casts become double()."""
    text = pathlib.Path(path).read_text()
    if exact:
        text = text.replace(".float()", ".double()")
    wanted = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name in names:
            node.decorator_list = [d for d in node.decorator_list if "dataclass" in ast.unparse(d)]
            wanted.append(node)
    module = ast.Module(body=wanted, type_ignores=[])
    scope = {"torch": torch, "math": math, "dataclass": dataclass, "Any": typing.Any, "Optional": typing.Optional,
             "collections": __import__("collections"), "F": torch.nn.functional, **dict(extra)}
    code = compile(module, str(path), "exec", flags=__future__.annotations.compiler_flag)
    exec(code, scope)
    assert all(name in scope for name in names), (path, names)
    return types.SimpleNamespace(**{k: v for k, v in scope.items() if not k.startswith("__")})


sources = pathlib.Path(sys.argv[1])
masks = functions(sources / "verl/verl/utils/torch_functional.py", ["masked_sum", "masked_mean"])
constants = {"SUPPORTED_ROLLOUT_RS_OPTIONS": {f"{l}_k{k}" for l in ("token", "seq_sum", "seq_mean", "seq_max") for k in (1, 2, 3)},
             "TOKEN_LEVEL_ROLLOUT_RS_OPTIONS": {f"token_k{k}" for k in (1, 2, 3)}, "SAFETY_BOUND": 20.0}
verl = functions(sources / "verl/verl/trainer/ppo/rollout_corr_helper.py",
                 ["compute_rollout_rejection_mask", "_parse_rollout_rs_thresholds", "compute_rollout_correction_weights"],
                 {"verl_F": masks, "compute_rs_metrics": lambda **_: {}, "compute_is_metrics": lambda **_: {}, **constants})
areal = functions(sources / "AReaL/areal/utils/functional/functional.py",
                  ["apply_rejection_sampling", "_check_bounds", "RejectionSamplingResult"], exact=True)
methods = {f"PROX_APPROX_METHOD_{n}": n.lower() for n in ("LOGLINEAR", "LINEAR", "ROLLOUT")}
areal_actor = functions(sources / "AReaL/areal/trainer/ppo/actor.py",
                        ["compute_prox_logp_approximations", "_apply_m2po_masking", "_get_m2po_loss_mask"],
                        {**methods, "PROX_APPROX_METHODS_ALL": list(methods.values())}, exact=True)
slime_sums = {"masked_sum": lambda x, m, expand=False: (x * m).sum().expand_as(x) if expand else (x * m).sum(),
              "masked_mean": lambda x, m, expand=False: ((x * m).sum() / m.sum()).expand_as(x) if expand else (x * m).sum() / m.sum(),
              "masked_min": lambda x, m, expand=False: x, "masked_max": lambda x, m, expand=False: x,
              "metrics_append": lambda *_: None, "add_ppl_metrics": lambda *_: None}
slime = functions(sources / "slime/examples/train_infer_mismatch_helper/mis.py",
                  ["compute_mis_weights", "calculate_veto_mask", "truncate", "clip", "mask"], slime_sums, exact=True)
slime_loss = functions(sources / "slime/slime/backends/megatron_utils/loss.py", ["icepop_function"])
slime_utils = functions(sources / "slime/slime/utils/ppo_utils.py", ["compute_opsm_mask"], exact=True)
prime = functions(sources / "prime-rl/src/prime_rl/trainer/rl/loss.py",
                  ["default_loss_fn", "ipo_loss_fn", "compute_importance_ratio_and_mismatch_kl", "_safe_mean", "LossOutputs"])
trl = functions(sources / "trl/trl/trainer/grpo_trainer.py", ["get_off_policy_mask"])
archer = functions(sources / "Archer2.0/verl/trainer/ppo/core_algos.py", ["compute_policy_loss_archer", "agg_loss"], {"verl_F": masks})
beast = functions(sources / "torchbeast/torchbeast/core/vtrace.py",
                  ["from_importance_weights"],
                  {"VTraceReturns": typing.NamedTuple("VTraceReturns", [("vs", typing.Any), ("pg_advantages", typing.Any)])})


def batch(seed, spread, lengths):
    """Columns laid one answer after another; advantages are one an answer."""
    g = torch.Generator().manual_seed(seed)
    n = sum(lengths)
    behaviour = -torch.rand(n, generator=g) * 2 - 0.05
    old = torch.minimum(behaviour + spread * torch.randn(n, generator=g), torch.tensor(-1e-3))
    logprob = torch.minimum(old + spread * torch.randn(n, generator=g), torch.tensor(-1e-3))
    advantage = torch.cat([torch.randn(1, generator=g).expand(k) for k in lengths])
    version = torch.randint(3, 9, (n,), generator=g)
    return types.SimpleNamespace(lengths=lengths, behaviour=behaviour, old=old, logprob=logprob, advantage=advantage, version=version)


batches = [batch(1, 0.4, [4, 1, 6]), batch(2, 0.02, [5, 3, 2, 6]), batch(3, 3.0, [6, 5])]
narrow = [batch(4, 0.003, [8, 6, 4, 7])]


def padded(b, x):
    width = max(b.lengths)
    rows = [torch.cat([part, torch.zeros(width - len(part), dtype=part.dtype)]) for part in x.split(b.lengths)]
    return torch.stack(rows)


def mask_of(b):
    return padded(b, torch.ones(sum(b.lengths)))


def flat(b, x):
    return torch.cat([row[:k] for row, k in zip(x, b.lengths)])


def verl_weights(b, level, cap):
    weights, _ = verl.compute_rollout_correction_weights(padded(b, b.old - b.behaviour), mask_of(b), level, cap)
    return flat(b, weights)


def verl_mask(b, how, threshold):
    kept, _ = verl.compute_rollout_rejection_mask(padded(b, b.old - b.behaviour), mask_of(b), how, threshold)
    return flat(b, kept)


def areal_weights(b, **config):
    config = types.SimpleNamespace(**{"metric": "ratio", "agg": "mean", "lower": None, **config})
    return flat(b, areal.apply_rejection_sampling(padded(b, b.old), padded(b, b.behaviour), mask_of(b), None, config).behave_imp_weight)


def slime_weights(b, **given):
    args = types.SimpleNamespace(**{"use_tis": True, "use_rs": False, "tis_mode": "truncate", "tis_level": "token", "tis_lower_bound": None,
                                    "tis_upper_bound": 2.0, "rs_lower_bound": None, "rs_upper_bound": None, "rs_level": "token",
                                    "rs_veto_threshold": None, "tis_batch_normalize": False, **given})
    weights, kept, _ = slime.compute_mis_weights(args, train_log_probs=list(b.old.split(b.lengths)), rollout_log_probs=list(b.behaviour.split(b.lengths)),
                                                 loss_masks=[torch.ones(k) for k in b.lengths])
    return torch.cat(weights) * torch.cat(kept)


def icepop(b, low, high):
    return slime_loss.icepop_function(types.SimpleNamespace(tis_clip_low=low, tis_clip=high), pg_loss=torch.ones(sum(b.lengths)), train_log_probs=[b.old],
                                      rollout_log_probs=[b.behaviour], loss_masks=[])[0]


def opsm_trl(b, delta):
    one = torch.stack([part[0] for part in b.advantage.split(b.lengths)]).unsqueeze(1)
    keep = trl.get_off_policy_mask(one, padded(b, b.logprob), padded(b, b.behaviour), mask_of(b), delta)
    return flat(b, keep.expand(-1, max(b.lengths)))


def opsm_slime(b, delta):
    parts = [list(x.split(b.lengths)) for x in (b.logprob, b.old, b.advantage)]
    return slime_utils.compute_opsm_mask(types.SimpleNamespace(opsm_delta=delta), *parts, [torch.ones(k) for k in b.lengths])[0]


def dppo(b, loss, **config):
    """The mask is the gradient over that of the plain ratio."""
    logprob = b.logprob.clone().requires_grad_()
    inputs = types.SimpleNamespace(trainer_logprobs=logprob, inference_logprobs=b.behaviour, ref_logprobs=None, advantages=b.advantage,
                                   loss_mask=torch.ones(sum(b.lengths), dtype=torch.bool), loss_weights=None)
    loss(inputs, types.SimpleNamespace(adv_tau=1.0, kl_tau=0.0, **config)).loss.backward()
    return logprob.grad / -(b.advantage * (b.logprob - b.behaviour).exp())


def aspo(b, cap):
    """Gradient over that of the plain ratio where A > 0 and no clip holds: clips wide open."""
    logprob = b.logprob.clone().requires_grad_()
    archer.compute_policy_loss_archer(b.old.unsqueeze(0), logprob.unsqueeze(0), b.advantage.unsqueeze(0), torch.ones(1, sum(b.lengths), dtype=torch.bool),
                                      torch.ones(1, sum(b.lengths), dtype=torch.bool), negative_low_entropy_clip_ratio_low=1.0,
                                      positive_low_entropy_clip_ratio_high=1e9, negative_clip_ratio_c=1e9, positive_clip_ratio_c=cap)[0].backward()
    return logprob.grad * sum(b.lengths) / -(b.advantage * (b.logprob - b.old).exp())


def m2po(b, threshold):
    return areal_actor._apply_m2po_masking(b.behaviour, b.old, torch.ones(sum(b.lengths), dtype=torch.bool), threshold).double()


cases = []


def case(source, correction, options, function, over=batches):
    for b in over:
        cases.append({"source": source, "batch": (batches + narrow).index(b), "correction": correction, "options": options,
                      "weight": function(b).tolist()})


token, sequence, geometric = 0, 1, 2
for cap in (2.0, 5.0):
    case("verl compute_rollout_correction_weights", "truncated", {"cap": cap}, lambda b: verl_weights(b, "token", cap))
    case("verl compute_rollout_correction_weights", "truncated", {"cap": cap, "level": sequence}, lambda b: verl_weights(b, "sequence", cap))
case("slime compute_mis_weights", "truncated", {"cap": 1.1, "level": geometric}, lambda b: slime_weights(b, tis_level="geometric", tis_upper_bound=1.1))
case("slime compute_mis_weights", "truncated", {"cap": 2.0, "floor": 0.5}, lambda b: slime_weights(b, tis_mode="clip", tis_lower_bound=0.5))
for level, name in ((token, "token"), (sequence, "sequence"), (geometric, "geometric")):
    case("slime compute_mis_weights", "masked", {"low": 0.5, "high": 2.0, "level": level}, lambda b: slime_weights(b, tis_mode="mask", tis_level=name))
case("AReaL apply_rejection_sampling", "masked", {"low": 0, "high": 5.0}, lambda b: areal_weights(b, level="token", action="mask", upper=5.0))
case("AReaL apply_rejection_sampling", "masked", {"low": 0, "high": 1.05, "level": geometric}, lambda b: areal_weights(b, level="sequence", action="mask", upper=1.05))
case("AReaL apply_rejection_sampling", "truncated", {"cap": 1.05, "level": geometric}, lambda b: areal_weights(b, level="sequence", action="clamp", upper=1.05))
case("slime icepop_function", "icepop", {}, lambda b: icepop(b, 0.5, 5.0))
case("slime icepop_function", "icepop", {"low": 0.2, "high": 5.0}, lambda b: icepop(b, 0.2, 5.0))
case("slime icepop_function", "icepop", {"low": 0.0, "high": 2.0}, lambda b: icepop(b, 0.0, 2.0))
case("verl compute_rollout_rejection_mask", "geometric_mask", {"low": 0.999, "high": 1.001}, lambda b: verl_mask(b, "seq_mean_k1", f"{1 / 1.001}_{1 / 0.999}"), narrow + batches[1:2])
case("slime compute_mis_weights", "seq_mask_tis", {"low": 0.999, "high": 1.002},
     lambda b: slime_weights(b, tis_upper_bound=1e9, use_rs=True, rs_level="geometric", rs_lower_bound=0.999, rs_upper_bound=1.002), narrow + batches[1:2])
for estimator in (0, 1, 2):
    for over, name in enumerate(("token", "seq_sum", "seq_mean", "seq_max")):
        if estimator == 0 and name == "seq_max":
            continue
        bounds, options = ("0.8_1.3", {"low": -math.log(1.3), "high": -math.log(0.8)}) if estimator == 0 else ("0.05", {"high": 0.05})
        case("verl compute_rollout_rejection_mask", "rejection", {"estimator": estimator, "over": over, **options},
             lambda b: verl_mask(b, f"{name}_k{estimator + 1}", bounds))
case("slime compute_mis_weights", "veto", {"low": 0.05},
     lambda b: slime_weights(b, use_rs=True, rs_lower_bound=0.0, rs_upper_bound=1e12, rs_veto_threshold=0.05, tis_mode="clip", tis_lower_bound=1.0, tis_upper_bound=1.0 + 1e-12))
case("trl get_off_policy_mask", "opsm", {"delta": 0.01}, lambda b: opsm_trl(b, 0.01))
case("slime compute_opsm_mask", "opsm", {"delta": 1e-4, "policy": 1}, lambda b: opsm_slime(b, 1e-4))
for threshold in (0.04, 1e-4, 1e-12):
    case("AReaL _apply_m2po_masking", "m2po", {"threshold": threshold}, lambda b: m2po(b, threshold))
case("prime-rl default_loss_fn", "dppo", {}, lambda b: dppo(b, prime.default_loss_fn, dppo_mask_high=0.2, dppo_mask_low=0.2))
case("prime-rl ipo_loss_fn", "dppo", {"symmetric": 1, "high": 0.1}, lambda b: dppo(b, prime.ipo_loss_fn, ipo_threshold=0.1))
case("Archer2.0 compute_policy_loss_archer", "aspo", {"cap": 3.0}, lambda b: aspo(b, 3.0))

anchors = [{"batch": i, "version": v, "log_linear": areal_actor.compute_prox_logp_approximations(b.behaviour, b.logprob, b.version, v, "loglinear")["loglinear"].tolist()}
           for i, b in enumerate(batches) for v in (5, 9)]

targets = []
for seed in (11, 12):
    g = torch.Generator().manual_seed(seed)
    n = 6
    log_rho, values = torch.randn(n, generator=g), torch.randn(n, generator=g)
    reward, gamma, bar = 1.5, 0.9, 1.2
    rewards = torch.cat([torch.zeros(n - 1), torch.tensor([reward])])
    made = beast.from_importance_weights(log_rho.unsqueeze(1), torch.full((n, 1), gamma), rewards.unsqueeze(1), values.unsqueeze(1),
                                         torch.zeros(1), clip_rho_threshold=bar, clip_pg_rho_threshold=bar)
    targets.append({"log_rho": log_rho.tolist(), "value": values.tolist(), "reward": reward, "gamma": gamma, "rho_bar": bar,
                    "vs": made.vs.squeeze(1).tolist(), "advantage": made.pg_advantages.squeeze(1).tolist()})

columns = [{"length": b.lengths, "behaviour": b.behaviour.tolist(), "old": b.old.tolist(), "logprob": b.logprob.tolist(),
            "advantage": b.advantage.tolist(), "version": b.version.tolist()} for b in batches + narrow]
lines = [f'"batches": [\n{",".join(chr(10) + json.dumps(c) for c in columns)}]', f'"cases": [{",".join(chr(10) + json.dumps(c) for c in cases)}]',
         f'"anchors": [{",".join(chr(10) + json.dumps(a) for a in anchors)}]', f'"vtrace": [{",".join(chr(10) + json.dumps(t) for t in targets)}]']
(pathlib.Path(__file__).parent / "corrections.json").write_text("{" + ",\n".join(lines) + "}\n")
