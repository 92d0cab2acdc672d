"""Writes tests/golden/algorithms/*.json: what the peers' own functions make of random float64 inputs.

    python tests/golden/make_algorithm_goldens.py FOLDER

FOLDER holds the peers' files, one folder a peer, at the commits that peer_functions.py names (a missing file is reported
with its repository); TRL 1.16 comes from the Python environment. drpo_domain needs scikit-learn too, else its file is left
as it is.

A file is one algorithm's batch and its cases: the peer, our options that should give the same, and what the peer gave:
advantages of every token, or loss and gradient for the batch's own advantages.
"""

import json
import pathlib
import sys
import types

import numpy as np
import torch

import peer_functions
from peer_functions import Bag, float64_only

OUT = pathlib.Path(__file__).parent / "algorithms"
GROUPS, ANSWERS, WIDTH = 3, 4, 4


def rounded(x, digits=6):
    return torch.round(x.detach() * 10**digits) / 10**digits


class Batch:
    """Answers padded to WIDTH; `flat` gives the tokens in our order."""

    def __init__(self, seed, binary=False):
        generator = torch.Generator().manual_seed(seed)
        n = GROUPS * ANSWERS

        def randn(*shape):
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        self.length = torch.randint(1, WIDTH + 1, (n,), generator=generator)
        self.length[0] = WIDTH
        self.mask = (torch.arange(WIDTH) < self.length[:, None]).double()
        self.reward = rounded(randn(n))
        if binary:
            self.reward = torch.tensor([1.0, 0, 1, 0, 0, 0, 0, 1, 1, 1, 1, 1], dtype=torch.float64)
        self.group = torch.arange(GROUPS).repeat_interleave(ANSWERS)
        self.old = rounded(-torch.rand(n, WIDTH, generator=generator, dtype=torch.float64) * 3 - 0.1) * self.mask
        self.logprob = rounded(self.old + 0.3 * randn(n, WIDTH)) * self.mask
        self.behaviour = rounded(self.old + 0.3 * randn(n, WIDTH)) * self.mask
        self.ref = rounded(self.old + 0.3 * randn(n, WIDTH)) * self.mask
        self.value = rounded(randn(n, WIDTH)) * self.mask
        self.baseline = rounded(randn(n))
        self.score = rounded(randn(n))
        self.answer_advantage = rounded(randn(n))
        self.cases = []

    @property
    def advantage(self):
        return self.answer_advantage[:, None] * self.mask

    def flat(self, x):
        return x[self.mask.bool()]

    def advantages(self, peer, what, x, **options):
        x = x if x.dim() == 2 else x[:, None].expand_as(self.mask)
        self.cases.append({"peer": peer, "function": what, "options": options, "advantages": self.flat(x).tolist()})

    def loss(self, peer, what, function, how, constant=1, of="logprob", gradient_only=False, kl=None, **options):
        leaf = getattr(self, of).clone().requires_grad_()
        loss = function(leaf)
        loss.backward()
        gradient = leaf.grad if of == "score" else self.flat(leaf.grad)
        case = {"peer": peer, "function": what, "options": options, "aggregation": how, "gradient": gradient.tolist()}
        if how == "fixed_length":
            case["fixed_length"] = constant
        if kl:
            case["kl"] = {"coefficient": kl[0], "estimator": kl[1]}
        if not gradient_only:
            case["loss"] = loss.item()
        self.cases.append(case)

    def write(self, name):
        tokens = {k: self.flat(getattr(self, k)).tolist() for k in ("logprob", "old", "behaviour", "ref", "value", "advantage")}
        answers = {k: getattr(self, k).tolist() for k in ("length", "group", "reward", "baseline", "score")}
        body = {"peers": {k: f"github.com/{r} at {c}" for k, (r, c, _) in peer_functions.PEERS.items()} | {"TRL": "1.16.0"}}
        used = {c["peer"] for c in self.cases}
        body["peers"] = {k: v for k, v in body["peers"].items() if k in used}
        body["batch"] = answers | tokens
        text = json.dumps(body, indent=1)[:-2] + ',\n "cases": [\n' + ",\n".join("  " + json.dumps(c) for c in self.cases) + "\n ]\n}\n"
        text = shortened(text)
        OUT.mkdir(exist_ok=True)
        (OUT / f"{name}.json").write_text(text)


def shortened(text):
    """Lists of numbers on one line, 14 digits."""
    import re

    text = re.sub(r"\[\s+([-\d.e,\s]+?)\s+\]", lambda m: "[" + " ".join(m.group(1).split()) + "]", text)
    return re.sub(r"-?\d+\.\d+(?:e-?\d+)?", lambda m: f"{float(m.group(0)):.14g}", text)


class Accelerator:
    num_processes = 1
    sync_gradients = False

    def gather(self, x):
        return x

    gather_for_metrics = gather

    def reduce(self, x, reduction="sum"):
        return x


class Metrics(dict):
    def __missing__(self, key):
        self[key] = Metrics() if key in ("train", "eval") else []
        return self[key]


def trl_self(b, logprob, **more):
    """What TRL's loss functions read of their trainer."""
    args = Bag(delta=None, use_bias_correction_kl=False, sapo_temperature_pos=1.0, sapo_temperature_neg=1.05, steps_per_generation=1)
    args.update(more.pop("args", {}))
    fields = dict(
        _get_per_token_logps_and_entropies=lambda *a, **k: (logprob, torch.zeros_like(logprob), None), top_entropy_quantile=1.0,
        off_policy_mask_threshold=None, importance_sampling_level="token", beta=0.0, args=args, epsilon_low=0.2, epsilon_high=0.2,
        loss_type="dapo", use_vllm=False, vllm_importance_sampling_correction=False, model=types.SimpleNamespace(training=True),
        current_gradient_accumulation_steps=1, max_completion_length=7, accelerator=Accelerator(), _entropy_bonus_enabled=False,
        _metrics=Metrics(), aux_loss_enabled=False)
    fields.update(more)
    return types.SimpleNamespace(**fields)


def trl_inputs(b):
    ids = torch.zeros(b.mask.shape, dtype=torch.long)
    return {"prompt_ids": ids[:, :1], "prompt_mask": ids[:, :1] + 1, "completion_ids": ids, "completion_mask": b.mask,
            "advantages": b.answer_advantage, "old_per_token_logps": b.old, "ref_per_token_logps": b.ref,
            "old_logps": (b.old * b.mask).sum(1), "num_items_in_batch": b.mask.sum()}


def trl_loss(b, **more):
    from trl.trainer.grpo_trainer import GRPOTrainer

    return lambda leaf: GRPOTrainer._compute_loss(trl_self(b, leaf, **more), None, trl_inputs(b))


class Maker:
    """OpenRLHF: one call of compute_advantages_and_returns over the batch."""

    def __init__(self, openrlhf, b, estimator, coefficient=0.0, gamma=1.0, lambd=1.0, clip=(-10, 10)):
        self.namespace, self.b, self.advantage_estimator = openrlhf, b, estimator
        self.kl_ctl = types.SimpleNamespace(value=coefficient)
        self.strategy = Bag(args=Bag(
            rollout=Bag(n_samples_per_prompt=ANSWERS), reward=Bag(clip_range=clip),
            algo=Bag(advantage=Bag(estimator=estimator, gamma=gamma, lambd=lambd, no_std_norm=False))))

    def get_advantages_and_returns(self, *a):
        return self.namespace["get_advantages_and_returns"](self, *a)

    def get_cumulative_returns(self, *a):
        return self.namespace["get_cumulative_returns"](self, *a)

    def run(self):
        b = self.b
        kl = self.namespace["compute_approx_kl"](b.behaviour, b.ref, "k1") * b.mask
        experience = types.SimpleNamespace(index=list(range(len(b.reward))), rewards=b.reward.clone(), kl=kl, action_mask=b.mask,
                                           values=b.value, info={})
        return self.namespace["compute_advantages_and_returns"](self, [experience])[0].advantages


def at_last(b, r):
    out = torch.zeros_like(b.mask)
    out[torch.arange(len(r)), b.length - 1] = r
    return out


def verl_rewards(p, b, coefficient):
    return p["verl"]["compute_rewards"](at_last(b, b.reward), b.behaviour, b.ref, coefficient) * b.mask


def verl_config(b, low=0.2, high=0.2, c=3.0, **more):
    return Bag(clip_ratio=0.2, clip_ratio_low=low, clip_ratio_high=high, clip_ratio_c=c, global_batch_info={}, **more)


def verl_loss(p, b, name, config, how="token-mean"):
    return lambda leaf: p["verl"][name](b.old, leaf, b.advantage, b.mask, how, config)[0]


def openrlhf_loss(p, b, **options):
    loss = p["OpenRLHF"]["PolicyLoss"](**options)
    return lambda leaf: loss(leaf, b.old, b.advantage, b.mask)[0]


def nemo_config(**more):
    base = dict(disable_ppo_ratio=False, token_level_loss=True, sequence_level_importance_ratios=False, ratio_clip_min=0.2, ratio_clip_max=0.2,
                ratio_clip_c=None, reference_policy_kl_penalty=0.0, reference_policy_kl_type="k3", kl_input_clamp_value=20.0,
                kl_output_clamp_value=10.0, use_kl_in_reward=False, use_importance_sampling_correction=False,
                truncated_importance_sampling_type=None, truncated_importance_sampling_ratio=None,
                truncated_importance_sampling_ratio_min=None, use_on_policy_kl_approximation=False, force_on_policy_ratio=False,
                use_cispo=False, positive_example_nll_weight=0.0)
    return Bag(base | more)


def nemo_loss(p, b, **options):
    loss = p["NeMo-RL"]["ClippedPGLossFn"](nemo_config(**options))

    def before(x):
        return torch.cat([torch.zeros_like(x[:, :1]), x], 1)

    data = {"token_mask": before(b.mask), "sample_mask": torch.ones(len(b.mask)), "advantages": before(b.advantage), "prev_logprobs": before(b.old),
            "generation_logprobs": before(b.old), "reference_policy_logprobs": before(b.ref)}
    return lambda leaf: loss(leaf, data, torch.tensor(float(len(b.mask))), b.mask.sum())[0]


def nemo_advantages(p, b, estimator, config, **loss_options):
    made = p["NeMo-RL"][estimator](Bag(config) if estimator != "GeneralizedAdvantageEstimator" else config, nemo_config(**loss_options))
    prompts = b.group[:, None]
    out = made.compute_advantage(prompts, b.reward.clone(), b.mask, values=b.value, logprobs_policy=b.behaviour, logprobs_reference=b.ref,
                                 logprobs=b.behaviour, reference_logprobs=b.ref)
    return out[0] if isinstance(out, tuple) else out


def index(b):
    return b.group.numpy()


def token_losses(p, b):
    """The clipped surrogate, as each peer has it."""
    b.loss("verl", "compute_policy_loss_vanilla", verl_loss(p, b, "compute_policy_loss_vanilla", verl_config(b, c=1.5)), "token_mean", dual_clip=1.5)
    b.loss("verl", "compute_policy_loss_vanilla", verl_loss(p, b, "compute_policy_loss_vanilla", verl_config(b, high=0.28, c=1e9), "seq-mean-token-mean"),
           "sequence_mean", clip_low=0.2, clip_high=0.28, dual_clip=0)
    b.loss("OpenRLHF", "PolicyLoss", openrlhf_loss(p, b), "token_mean", clip_high=0.2)
    b.loss("OpenRLHF", "PolicyLoss", openrlhf_loss(p, b, dual_clip=1.4, token_level_loss=False), "sequence_mean", clip_high=0.2, dual_clip=1.4)
    b.loss("NeMo-RL", "ClippedPGLossFn", nemo_loss(p, b, ratio_clip_max=0.28, ratio_clip_c=1.5), "token_mean", clip_high=0.28, dual_clip=1.5)
    b.loss("TRL", "GRPOTrainer._compute_loss", trl_loss(b, epsilon_high=0.28, args={"delta": 1.5}), "token_mean", clip_high=0.28, dual_clip=1.5)
    b.loss("TRL", "GRPOTrainer._compute_loss", trl_loss(b, loss_type="grpo"), "sequence_mean", clip_high=0.2)


def ppo(p):
    b = Batch(1)
    verl = p["verl"]["compute_gae_advantage_return"]
    b.advantages("verl", "compute_rewards, compute_gae_advantage_return", verl(verl_rewards(p, b, 0.1), b.value, b.mask, 0.97, 0.9)[0],
                 gamma=0.97, **{"lambda": 0.9}, whitening=2, kl_in_reward=0.1)
    b.advantages("OpenRLHF", "compute_advantages_and_returns (gae)", Maker(p["OpenRLHF"], b, "gae", 0.1, 0.97, 0.9, (-1, 1)).run(),
                 gamma=0.97, **{"lambda": 0.9}, whitening=1, kl_in_reward=0.1, reward_clip=1)
    config = Bag(gae_lambda=0.95, gae_gamma=0.99, normalize_advantages=True, gae_lambda_value=None, gae_lambda_policy=None, length_adaptive_alpha=0.0)
    b.advantages("NeMo-RL", "GeneralizedAdvantageEstimator", nemo_advantages(p, b, "GeneralizedAdvantageEstimator", config), gamma=0.99, whitening=2)
    config = Bag(config | {"length_adaptive_alpha": 0.6, "normalize_advantages": False})
    b.advantages("NeMo-RL", "GeneralizedAdvantageEstimator (VAPO)",
                 nemo_advantages(p, b, "GeneralizedAdvantageEstimator", config, use_kl_in_reward=True, reference_policy_kl_penalty=0.2),
                 gamma=0.99, whitening=0, length_adaptive=0.6, kl_in_reward=0.2, kl_in_reward_estimator=3)
    token_losses(p, b)
    b.write("ppo")


def gae(p):
    b = Batch(2)
    _, verl = p["verl"]["compute_gae_advantage_return"](at_last(b, b.reward), b.value, b.mask, 0.97, 0.9)
    open_a, open_r = p["OpenRLHF"]["get_advantages_and_returns"](None, b.value, at_last(b, b.reward), b.mask, 0.97, 0.9)
    b.cases += [{"peer": "verl", "function": "compute_gae_advantage_return", "gamma": 0.97, "lambda": 0.9, "returns": b.flat(verl).tolist()},
                {"peer": "OpenRLHF", "function": "get_advantages_and_returns", "gamma": 0.97, "lambda": 0.9, "returns": b.flat(open_r).tolist(),
                 "advantages": b.flat(open_a).tolist()}]
    for peer, name, function in (
            ("verl", "compute_value_loss", lambda v: p["verl"]["compute_value_loss"](v, b.ref, b.old, b.mask, 0.2)[0]),
            ("OpenRLHF", "ValueLoss", lambda v: p["OpenRLHF"]["ValueLoss"](0.2)(v, b.old, b.ref, b.mask))):
        leaf = b.logprob.clone().requires_grad_()  # the columns stand for value, old value and return
        loss = function(leaf)
        loss.backward()
        b.cases.append({"peer": peer, "function": name, "clip": 0.2, "value_loss": loss.item(), "gradient": b.flat(leaf.grad).tolist()})
    b.write("gae")


def trl_advantages(b, **fields):
    import trl.trainer.grpo_trainer as module

    code = peer_functions.statements(module.GRPOTrainer._generate_and_score_completions, "if self.multi_objective_aggregation", "advantages = torch.nan_to_num")
    space = dict(vars(module))
    space.update(rewards_per_func=b.reward[:, None].clone(), self=types.SimpleNamespace(multi_objective_aggregation="sum_then_normalize", reward_weights=torch.ones(1), **fields),
                 device="cpu", unscorable_mask=torch.zeros(len(b.reward), dtype=torch.bool), num_generations=ANSWERS)
    exec(code, space)
    return space["advantages"]


def grpo(p):
    b = Batch(3)
    verl = p["verl"]["compute_grpo_outcome_advantage"]
    b.advantages("verl", "compute_grpo_outcome_advantage", verl(at_last(b, b.reward), b.mask, index(b))[0])
    b.advantages("verl", "compute_rewards, compute_grpo_outcome_advantage", verl(verl_rewards(p, b, 0.1), b.mask, index(b))[0], kl_in_reward=0.1)
    b.advantages("verl", "compute_grpo_outcome_advantage (groups of one)", verl(at_last(b, b.reward), b.mask, np.arange(len(b.reward)))[0], keep_lone=1)
    b.cases[-1]["lone"] = True
    b.advantages("OpenRLHF", "compute_advantages_and_returns (group_norm)", Maker(p["OpenRLHF"], b, "group_norm", 0.1, clip=(-1, 1)).run(),
                 eps=1e-9, advantage_clip=1, kl_in_reward=0.1, kl_in_reward_form=1)
    b.advantages("TRL", "GRPOTrainer", trl_advantages(b, scale_rewards="group"), eps=1e-4)
    b.advantages("TRL", "GRPOTrainer (batch)", trl_advantages(b, scale_rewards="batch"), eps=1e-4, normalise=2)
    b.advantages("TRL", "GRPOTrainer (none)", trl_advantages(b, scale_rewards="none"), normalise=0)
    for alone in (True, False):
        b.advantages("NeMo-RL", "GRPOAdvantageEstimator",
                     nemo_advantages(p, b, "GRPOAdvantageEstimator", dict(use_leave_one_out_baseline=alone, normalize_rewards=True)), leave_one_out=int(alone))
    token_losses(p, b)
    b.loss("TRL", "GRPOTrainer._compute_loss (beta)", trl_loss(b, beta=0.04, loss_type="grpo"), "sequence_mean", kl=(0.04, "k3"))
    b.loss("NeMo-RL", "ClippedPGLossFn (reference_policy_kl_penalty)", nemo_loss(p, b, reference_policy_kl_penalty=0.04), "token_mean", kl=(0.04, "k3_score"))
    b.write("grpo")


def dr_grpo(p):
    b = Batch(4)
    verl = p["verl"]["compute_grpo_outcome_advantage"]
    b.advantages("verl", "compute_grpo_outcome_advantage", verl(at_last(b, b.reward), b.mask, index(b), norm_adv_by_std_in_grpo=False)[0])
    b.advantages("OpenRLHF", "compute_advantages_and_returns (dr_grpo)", Maker(p["OpenRLHF"], b, "dr_grpo", 0.1).run(), kl_in_reward=0.1, kl_in_reward_form=1)
    b.advantages("NeMo-RL", "GRPOAdvantageEstimator",
                 nemo_advantages(p, b, "GRPOAdvantageEstimator", dict(use_leave_one_out_baseline=True, normalize_rewards=False)), leave_one_out=1)
    config = verl_config(b, c=1e9)
    config.global_batch_info = {"loss_scale_factor": 7}
    b.loss("verl", "compute_policy_loss_vanilla", verl_loss(p, b, "compute_policy_loss_vanilla", config, "seq-mean-token-sum-norm"), "fixed_length", 7)
    b.loss("TRL", "GRPOTrainer._compute_loss", trl_loss(b, loss_type="dr_grpo"), "fixed_length", 7)
    b.write("dr_grpo")


def dapo(p):
    b = Batch(5)
    experience = types.SimpleNamespace(response_length=b.length, rewards=b.reward.clone())
    p["OpenRLHF"]["apply_overlong_penalty"]([experience], 4, 2, 0.7)
    a = p["verl"]["compute_grpo_outcome_advantage"](at_last(b, experience.rewards), b.mask, index(b))[0]
    b.advantages("OpenRLHF", "apply_overlong_penalty; verl's compute_grpo_outcome_advantage", a, max_length=4, overlong_buffer=2, overlong_factor=0.7)
    b.loss("verl", "compute_policy_loss_vanilla", verl_loss(p, b, "compute_policy_loss_vanilla", verl_config(b, high=0.28, c=10.0)), "token_mean", dual_clip=10)
    b.loss("TRL", "GRPOTrainer._compute_loss", trl_loss(b, epsilon_high=0.28), "token_mean")
    b.loss("NeMo-RL", "ClippedPGLossFn", nemo_loss(p, b, ratio_clip_max=0.28, ratio_clip_c=10.0), "token_mean", dual_clip=10)
    b.write("dapo")


def rloo(p):
    import trl.trainer.rloo_trainer as module

    b = Batch(6)
    for name in ("compute_rloo_outcome_advantage", "compute_rloo_vectorized_outcome_advantage"):
        b.advantages("verl", name, p["verl"][name](verl_rewards(p, b, 0.1), b.mask, index(b))[0], kl_in_reward=0.1)
    b.advantages("OpenRLHF", "compute_advantages_and_returns (rloo)", Maker(p["OpenRLHF"], b, "rloo", 0.1).run(), kl_in_reward=0.1, kl_in_reward_form=1)
    code = peer_functions.statements(module.RLOOTrainer._generate_and_score_completions, "rewards = (rewards_per_func", "advantages = torch.nan_to_num")
    for normalised in (False, True):
        space = dict(vars(module))
        space.update(rewards_per_func=b.reward[:, None].clone(), device="cpu", unscorable_mask=torch.zeros(len(b.reward), dtype=torch.bool), num_generations=ANSWERS,
                     old_per_token_logps=b.behaviour, ref_per_token_logps=b.ref, completion_mask=b.mask, gather=lambda x: x,
                     self=types.SimpleNamespace(reward_weights=torch.ones(1), reward_clip_range=(-1, 1), beta=0.05, normalize_advantages=normalised))
        exec(code, space)
        b.advantages("TRL", "RLOOTrainer", space["advantages"], kl_in_reward=0.05, reward_clip=1, normalise=int(normalised))
    b.loss("TRL", "RLOOTrainer._compute_loss", lambda leaf: module.RLOOTrainer._compute_loss(trl_self(b, leaf), None, trl_inputs(b)), "sequence_mean", ratio=2)
    b.loss("NeMo-RL", "ClippedPGLossFn (disable_ppo_ratio)", nemo_loss(p, b, disable_ppo_ratio=True), "token_mean", ratio=0)
    b.loss("verl", "compute_policy_loss_vanilla", verl_loss(p, b, "compute_policy_loss_vanilla", verl_config(b, c=1e9)), "token_mean")
    b.write("rloo")


def reinforce_pp(p):
    b = Batch(7)
    verl = p["verl"]["compute_reinforce_plus_plus_outcome_advantage"]
    b.advantages("verl", "compute_rewards, compute_reinforce_plus_plus_outcome_advantage", verl(verl_rewards(p, b, 0.1), b.mask, Bag(gamma=0.9))[0],
                 gamma=0.9, kl_in_reward=0.1, whitening=2)
    b.advantages("OpenRLHF", "compute_advantages_and_returns (reinforce)", Maker(p["OpenRLHF"], b, "reinforce", 0.1, 0.9).run(), gamma=0.9, kl_in_reward=0.1)
    b.advantages("NeMo-RL", "ReinforcePlusPlusAdvantageEstimator",
                 nemo_advantages(p, b, "ReinforcePlusPlusAdvantageEstimator", dict(minus_baseline=False), use_kl_in_reward=True,
                                 reference_policy_kl_penalty=0.1, reference_policy_kl_type="k2"),
                 kl_in_reward=0.1, kl_in_reward_estimator=2, kl_in_reward_form=2)
    b.write("reinforce_pp")
    b = Batch(8)
    name = "compute_reinforce_plus_plus_baseline_outcome_advantage"
    b.advantages("verl", "compute_rewards, " + name, p["verl"][name](verl_rewards(p, b, 0.1), b.mask, index(b))[0],
                 kl_in_reward=0.1, kl_in_reward_form=0, whitening=2)
    b.advantages("OpenRLHF", "compute_advantages_and_returns (reinforce_baseline)", Maker(p["OpenRLHF"], b, "reinforce_baseline", 0.1).run(), kl_in_reward=0.1)
    b.advantages("NeMo-RL", "ReinforcePlusPlusAdvantageEstimator",
                 nemo_advantages(p, b, "ReinforcePlusPlusAdvantageEstimator", dict(minus_baseline=True), use_kl_in_reward=True,
                                 reference_policy_kl_penalty=0.1, reference_policy_kl_type="k1"),
                 kl_in_reward=0.1, kl_in_reward_form=2)
    b.write("reinforce_pp_baseline")


def remax(p):
    b = Batch(9)
    a = p["verl"]["compute_remax_outcome_advantage"](verl_rewards(p, b, 0.1), b.baseline, b.mask)[0]
    b.advantages("verl", "compute_rewards, compute_remax_outcome_advantage", a, kl_in_reward=0.1)
    b.write("remax")


def sequence_losses(p):
    b = Batch(10)
    config = verl_config(b, 0.03, 0.04)
    b.loss("verl", "compute_policy_loss_gspo", verl_loss(p, b, "compute_policy_loss_gspo", config), "sequence_mean", clip_low=0.03, clip_high=0.04, token_form=1)
    b.loss("verl", "compute_policy_loss_gspo", verl_loss(p, b, "compute_policy_loss_gspo", config), "sequence_mean", clip_low=0.03, clip_high=0.04)
    b.loss("TRL", "GRPOTrainer._compute_loss (sequence)", trl_loss(b, importance_sampling_level="sequence", loss_type="grpo", epsilon_low=0.03, epsilon_high=0.04),
           "sequence_mean", clip_low=0.03, clip_high=0.04)
    b.loss("OpenRLHF", "PolicyLoss (gspo)", openrlhf_loss(p, b, policy_loss_type="gspo"), "sequence_mean", clip_low=0.2, clip_high=0.2)
    b.loss("NeMo-RL", "ClippedPGLossFn (sequence)", nemo_loss(p, b, sequence_level_importance_ratios=True, token_level_loss=False), "sequence_mean", clip_low=0.2, clip_high=0.2)
    b.write("gspo")

    b = Batch(11)
    b.loss("verl", "compute_policy_loss_cispo", verl_loss(p, b, "compute_policy_loss_cispo", verl_config(b, 0.1, 0.2)), "token_mean", clip_low=0.1, clip_high=0.2)
    b.loss("NeMo-RL", "ClippedPGLossFn (use_cispo)", nemo_loss(p, b, use_cispo=True, ratio_clip_min=0.1, ratio_clip_max=0.2), "token_mean", clip_low=0.1, clip_high=0.2)
    b.loss("TRL", "GRPOTrainer._compute_loss (cispo)", trl_loss(b, loss_type="cispo", epsilon_high=1.2), "token_mean", clip_high=0.2)
    b.write("cispo")

    b = Batch(12)
    b.loss("verl", "compute_policy_loss_sapo", verl_loss(p, b, "compute_policy_loss_sapo", verl_config(b, tau_pos=1.5, tau_neg=2.5)), "sequence_mean",
           tau_positive=1.5, tau_negative=2.5)
    b.loss("TRL", "GRPOTrainer._compute_loss (sapo)", trl_loss(b, loss_type="sapo"), "sequence_mean")
    b.write("sapo")

    from trl.experimental.gmpo.gmpo_trainer import GMPOTrainer

    b = Batch(13)
    b.loss("verl", "compute_policy_loss_geo_mean", verl_loss(p, b, "compute_policy_loss_geo_mean", verl_config(b, 0.1, 0.3)), "sequence_mean", clip_low=0.1, clip_high=0.3)
    b.loss("TRL", "GMPOTrainer._compute_loss", lambda leaf: GMPOTrainer._compute_loss(trl_self(b, leaf, epsilon_low=0.4, epsilon_high=0.4), None, trl_inputs(b)), "sequence_mean")
    b.write("gmpo")


def topr(p):
    b = Batch(14)
    b.answer_advantage = b.reward
    config = {"topr_positive_weight": 1.5, "topr_negative_weight": 0.5}
    worker = types.SimpleNamespace(_get_or_cache_config=lambda name, fallback: config[name], _topr_sample_logged=True, _cached_metrics={})

    def loss(leaf):
        ratio = (leaf - b.behaviour).exp()
        return (p["ROLL"]["loss"](worker, ratio, leaf, b.behaviour, b.advantage, b.reward) * b.mask).sum() / b.mask.sum()

    b.loss("ROLL", "ActorWorker._compute_topr_loss", loss, "token_mean", positive_weight=1.5, negative_weight=0.5, token_ratio=1)
    topr_of_the_paper(b)
    b.write("topr")


def topr_of_the_paper(b):
    """Eq. 8: the gradient is the sum over positive answers of R grad log pi(y), and over the others of clip(pi(y) / mu(y), 0, 1) R grad log pi(y)."""

    def loss(leaf):
        log_pi, log_mu = (leaf * b.mask).sum(1), (b.behaviour * b.mask).sum(1)
        tapered = (log_pi - log_mu).exp().detach().clamp(0, 1)
        return -(torch.where(b.reward > 0, torch.ones_like(tapered), tapered) * b.reward * log_pi).sum() / b.mask.sum()

    b.loss("paper", "arXiv:2503.14286, eq. 8", loss, "token_mean")


def drpo(p):
    b = Batch(15, binary=True)
    for tau, beta, kl, form in ((10, 1000, "kl", 1), (0.5, 1000, "kl", 1), (0.5, 10, "low_var_kl", 3)):
        old = b.logprob + 0.1 * (b.old - b.logprob).abs()  # k1 above delta

        def loss(leaf):
            return p["DRPO"]["compute_policy_loss_drpo"](old, leaf, b.mask, b.group, b.reward, 1e-4, beta, tau, 0.3, kl)[0]

        b.loss("DRPO", "compute_policy_loss_drpo", loss, "group_mean", gradient_only=True, tau=tau, beta=beta, kl_form=form, length_weight=0.3, max_length=WIDTH)
    b.old = rounded(old, 12)
    b.write("drpo")


def drpo_domain(p):
    if "QoQ_Med" not in p:
        print("drpo_domain: no scikit-learn, file left as it is")
        return
    b = Batch(16)
    space = p["QoQ_Med"]
    # Rewards ascend inside a group, as the authors cluster vectors in the order of answers and we sort them.
    b.reward = torch.tensor([0, 0, 0, 1, 0.1, 0.1, 0.2, 1, 0.5, 0.9, 1, 1], dtype=torch.float64)
    b.domain = torch.tensor([3, 3, 3, 3, 3, 3, 3, 3, 5, 5, 5, 5])
    for several in (False, True):
        domain = b.domain if several else torch.zeros_like(b.domain)
        space.update(domain_qstats=peer_functions.collections.defaultdict(lambda: {"vectors": [], "q_ids": [], "count": 0}), global_running_stats={"q_count": 0})
        a = space["compute_drpo_outcome_advantage"](at_last(b, b.reward), b.mask, [f"q{g}" for g in b.group.tolist()], domain.numpy(), b.old, b.ref)[0]
        b.advantages("QoQ_Med", "compute_drpo_outcome_advantage", a)
        b.cases[-1]["domain"] = domain.tolist()
    b.write("drpo_domain")


def pairs_batch(seed):
    """Groups of two: the first answer is chosen."""
    b = Batch(seed)
    b.group = torch.arange(len(b.reward) // 2).repeat_interleave(2)
    b.reward = torch.tensor([1.0, 0.0] * (len(b.reward) // 2), dtype=torch.float64)
    return b


def dpo(p):
    import trl.trainer.dpo_trainer as module

    b = pairs_batch(17)
    code = peer_functions.statements(module.DPOTrainer._compute_loss, "chosen_logratios =", "for loss_type")

    def trl(kind, beta):
        def loss(leaf):
            sums, ref = (leaf * b.mask).sum(1), (b.ref * b.mask).sum(1)
            both = torch.cat([b.mask[::2], b.mask[1::2]])
            space = dict(vars(module))
            space.update(chosen_logps=sums[::2], rejected_logps=sums[1::2], ref_chosen_logps=ref[::2], ref_rejected_logps=ref[1::2], completion_mask=both,
                         shift_completion_mask=both, device="cpu",
                         self=types.SimpleNamespace(f_divergence_type="reverse_kl", loss_types=[kind], loss_weights=[1.0], beta=beta, label_smoothing=0.0, use_weighting=False))
            exec(code, space)
            return space["loss"]

        return loss

    b.loss("TRL", "DPOTrainer._compute_loss (sigmoid)", trl("sigmoid", 0.3), "group_mean", beta=0.3)
    b.loss("TRL", "DPOTrainer._compute_loss (hinge)", trl("hinge", 0.3), "group_mean", beta=0.3, form=2)
    b.loss("TRL", "DPOTrainer._compute_loss (ipo)", trl("ipo", 0.3), "group_mean", beta=0.3, form=1, length_mean=1)
    b.loss("TRL", "DPOTrainer._compute_loss (sigmoid_norm)", trl("sigmoid_norm", 0.3), "group_mean", beta=0.3, length_mean=1)

    def openrlhf(**options):
        loss = p["OpenRLHF"]["DPOLoss"](0.3, **options)
        return lambda leaf: loss(*[(x * b.mask).sum(1)[part] for x in (leaf, b.ref) for part in (slice(0, None, 2), slice(1, None, 2))])[0]

    b.loss("OpenRLHF", "DPOLoss", openrlhf(label_smoothing=0.1), "group_mean", beta=0.3, label_smoothing=0.1)
    b.loss("OpenRLHF", "DPOLoss (ipo)", openrlhf(ipo=True), "group_mean", beta=0.3, form=1)
    b.write("dpo")


def bradley_terry(p):
    from trl.trainer.reward_trainer import RewardTrainer

    b = pairs_batch(18)

    def trl(margin, centring):
        def loss(leaf):
            logits = torch.cat([leaf[::2], leaf[1::2]])[:, None]
            me = types.SimpleNamespace(model=types.SimpleNamespace(training=True), args=Bag(center_rewards_coefficient=centring), accelerator=Accelerator(),
                                       _total_train_tokens=0, _tp_size=1, _metrics=Metrics())
            inputs = {"attention_mask": torch.ones(1)} | ({"margin": torch.full((len(leaf) // 2,), margin)} if margin else {})
            return RewardTrainer.compute_loss(me, lambda **_: types.SimpleNamespace(logits=logits), inputs)

        return loss

    b.loss("TRL", "RewardTrainer.compute_loss", trl(0, None), "group_mean", of="score")
    b.loss("TRL", "RewardTrainer.compute_loss", trl(0.4, 0.01), "group_mean", of="score", margin=0.4, centring=0.01)
    b.loss("OpenRLHF", "PairWiseLoss", lambda leaf: p["OpenRLHF"]["PairWiseLoss"]()(leaf[::2], leaf[1::2], torch.tensor(0.4)), "group_mean", of="score", margin_per_reward=0.4)
    b.write("bradley_terry")


def supervised(p):
    b = Batch(19)
    for token_level, how in ((True, "token_mean"), (False, "sequence_mean")):
        loss = p["OpenRLHF"]["SFTLoss"](token_level)
        b.loss("OpenRLHF", "SFTLoss", lambda leaf: loss(leaf, b.mask), how)
    b.write("sft")
    b = Batch(20)
    kept = (b.reward > 0.1).double()
    a = kept[:, None] * b.mask * b.mask.sum() / (kept[:, None] * b.mask).sum()
    b.answer_advantage = rounded(a.max(1).values, 12)
    loss = p["OpenRLHF"]["SFTLoss"]()
    b.advantages("OpenRLHF", "the mask of SFTLoss", a, best_of_group=0, threshold=0.1)
    b.loss("OpenRLHF", "SFTLoss on the kept answers", lambda leaf: loss(leaf, b.mask * kept[:, None]), "token_mean")
    b.write("raft")


def kl(p):
    b = Batch(21)
    b.ref[0, 0], b.ref[1, 0] = 3.5, -30.0  # beyond the clamps

    def case(peer, what, estimator, function, **clamps):
        leaf = b.logprob.clone().requires_grad_()
        value = function(leaf)
        b.flat(value).sum().backward()
        b.cases.append({"peer": peer, "function": what, "estimator": estimator, "kl": b.flat(value).tolist(), "gradient": b.flat(leaf.grad).tolist()} | clamps)

    for word in ("k1", "k2", "k1+"):
        case("verl", "kl_penalty", word, lambda leaf: p["verl"]["kl_penalty"](leaf, b.ref, word))
    for word in ("k3", "k3+"):
        # The input clamp of verl is for k3 alone, the straight-through slope is not clamped.
        case("verl", "kl_penalty", word, lambda leaf: p["verl"]["kl_penalty"](leaf, b.ref, word), output=10)
    for word in ("k1", "k2", "k3"):
        case("OpenRLHF", "compute_approx_kl", word, lambda leaf: p["OpenRLHF"]["compute_approx_kl"](leaf, b.ref, word), output=10)
        case("NeMo-RL", "calculate_kl", word, lambda leaf: p["NeMo-RL"]["calculate_kl"](leaf, b.ref, word), input=20, output=10)
        case("NeMo-RL", "calculate_kl with sampling weights", word + "_score",
             lambda leaf: p["NeMo-RL"]["calculate_kl"](leaf, b.ref, word, importance_sampling_weights=(leaf - leaf.detach()).exp()), input=20, output=10)
    for peer in ("verl", "OpenRLHF"):
        control = p[peer]["AdaptiveKLController"](0.2, 6.0, 10000)
        steps = []
        for seen in (1.0, 5.9, 6.5, 40.0):
            control.update(seen, 512)
            steps.append([seen, float(control.value)])
        b.cases.append({"peer": peer, "function": "AdaptiveKLController", "controller": steps})
    b.write("kl")


def main():
    sys.path.append(str(pathlib.Path(sys.argv[1]) / "site"))
    with float64_only():
        p = peer_functions.load(sys.argv[1])
        for make in (ppo, gae, grpo, dr_grpo, dapo, rloo, reinforce_pp, remax, sequence_losses, topr, drpo, drpo_domain, dpo, bradley_terry, supervised, kl):
            make(p)


if __name__ == "__main__":
    main()
