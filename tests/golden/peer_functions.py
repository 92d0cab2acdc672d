"""The peers' own loss and advantage functions, taken out of their files without importing the packages around them.

Each peer is a folder of the checkout of its repository (PEERS: folder, repository, commit that the goldens were made of,
files needed). TRL comes from the Python environment.
"""

import ast
import collections
import contextlib
import enum
import math
import pathlib
import types
import typing

import numpy as np
import torch

PEERS = {
    "verl": ("verl-project/verl", "1dda039b9c6311889a9c9a26040677e1254814f9",
             ["verl/trainer/ppo/core_algos.py", "verl/utils/torch_functional.py", "verl/workers/reward_manager/dapo.py"]),
    "OpenRLHF": ("OpenRLHF/OpenRLHF", "3c3be6234e0cb353e76bb8019947db9dfe99fca7",
                 ["openrlhf/models/loss.py", "openrlhf/models/utils.py", "openrlhf/trainer/ppo_utils/experience_maker.py",
                  "openrlhf/trainer/ppo_utils/length_penalty.py", "openrlhf/trainer/ppo_utils/kl_controller.py"]),
    "NeMo-RL": ("NVIDIA-NeMo/RL", "7ea279abfbeb698b092856d0dab61e7cf39bc909",
                ["nemo_rl/algorithms/advantage_estimator.py", "nemo_rl/algorithms/loss/loss_functions.py",
                 "nemo_rl/algorithms/loss/interfaces.py", "nemo_rl/algorithms/utils.py"]),
    "DRPO": ("Optimization-AI/DRPO", "405f70268c7943f4e1fb253fd50170bca0de772b",
             ["verl/verl/trainer/ppo/core_algos.py", "verl/verl/utils/torch_functional.py"]),
    "QoQ_Med": ("DDVD233/QoQ_Med", "97f7f3d4cead937c0c923e0a27b24816f25ef22e", ["verl/trainer/core_algos.py"]),
    "ROLL": ("alibaba/ROLL", "8eb27cc2dc34c4d1310b169d9b86d339004d811a", ["roll/pipeline/agentic/agentic_actor_pg_worker.py"]),
}


class Bag(dict):
    """A dictionary whose entries are attributes too: the configuration objects of the peers."""

    __getattr__ = dict.get
    __setattr__ = dict.__setitem__


class Anything:
    """Answers every call and attribute with itself: loggers and the like."""

    def __getattr__(self, name):
        return self

    def __call__(self, *args, **kwargs):
        return self


def namespace(**more):
    out = {"torch": torch, "np": np, "math": math, "enum": enum, "defaultdict": collections.defaultdict,
           "nn": torch.nn, "F": torch.nn.functional, "itertools": __import__("itertools"), "logger": Anything(),
           "Enum": enum.Enum, "Tensor": torch.Tensor, "DataProto": object, "Experience": object, "AlgoConfig": type(None),
           "ActorConfig": Bag, "DictConfig": Bag, "BatchedDataDict": dict, "BaseModel": object, "abstractmethod": lambda f: f,
           "deprecated": lambda _: (lambda f: f)}
    out.update(vars(typing))
    out.update(more)
    return out


def definitions(path, wanted, into):
    """Runs the named top-level functions, classes and assignments of a file in the namespace `into`."""
    tree = ast.parse(pathlib.Path(path).read_text())
    for node in tree.body:
        names = [node.name] if isinstance(node, (ast.FunctionDef, ast.ClassDef)) else \
            [t.id for t in getattr(node, "targets", [getattr(node, "target", None)]) if isinstance(t, ast.Name)]
        if any(n in wanted for n in names):
            # Annotations name types of packages that are not here.
            for inner in ast.walk(node):
                if isinstance(inner, ast.FunctionDef):
                    inner.returns = None
                    for a in inner.args.args + inner.args.kwonlyargs:
                        a.annotation = None
            exec(compile(ast.Module([node], []), str(path), "exec"), into)
    missing = [w for w in wanted if w not in into]
    assert not missing, f"{path}: no {missing}"
    return into


def method(path, of, name, into):
    """One method of a class, as a function of `self`."""
    for node in ast.walk(ast.parse(pathlib.Path(path).read_text())):
        if isinstance(node, ast.ClassDef) and node.name == of:
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef) and inner.name == name:
                    inner.returns, inner.decorator_list = None, []
                    for a in inner.args.args:
                        a.annotation = None
                    exec(compile(ast.Module([inner], []), str(path), "exec"), into)
                    return into[name]
    raise KeyError(f"{path}: no {of}.{name}")


def statements(function, first, last):
    """The statements of a function from the one whose text starts with `first` to the one that starts with `last`."""
    import inspect
    import textwrap

    body = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0].body
    texts = [ast.unparse(node) for node in body]
    begin = next(i for i, t in enumerate(texts) if t.startswith(first))
    end = next(i for i, t in enumerate(texts) if i >= begin and t.startswith(last))
    return compile(ast.Module(body[begin:end + 1], []), function.__qualname__, "exec")


@contextlib.contextmanager
def float64_only():
    """The peers cast to float32 in places; here everything stays float64."""
    cast = torch.Tensor.float
    torch.Tensor.float = torch.Tensor.double
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.Tensor.float = cast
        torch.set_default_dtype(torch.float32)


def load(folder):
    """@returns one namespace a peer, by its functions' own names."""
    folder = pathlib.Path(folder)
    for name, (repository, commit, files) in PEERS.items():
        for file in files:
            assert (folder / name / file).exists(), f"{folder / name / file}: missing; it is {file} of github.com/{repository} at {commit}"
    out = {}

    def masked_functions(path):
        return types.SimpleNamespace(**{k: v for k, v in definitions(
            path, ["masked_sum", "masked_mean", "masked_var", "masked_whiten", "clip_by_value"] if "DRPO" not in str(path) else ["masked_mean"],
            namespace()).items() if callable(v) and k.startswith(("masked", "clip"))})

    core = folder / "verl/verl/trainer/ppo/core_algos.py"
    out["verl"] = definitions(core, [
        "AdaptiveKLController", "compute_gae_advantage_return", "compute_grpo_outcome_advantage", "compute_rloo_outcome_advantage",
        "compute_rloo_vectorized_outcome_advantage", "compute_reinforce_plus_plus_outcome_advantage",
        "compute_reinforce_plus_plus_baseline_outcome_advantage", "compute_remax_outcome_advantage", "compute_rewards", "agg_loss",
        "compute_policy_loss_vanilla", "compute_policy_loss_gspo", "compute_policy_loss_sapo", "compute_policy_loss_geo_mean",
        "compute_policy_loss_cispo", "compute_value_loss", "kl_penalty", "kl_penalty_forward"],
        namespace(verl_F=masked_functions(folder / "verl/verl/utils/torch_functional.py"), AdvantageEstimator=Anything(),
                  register_adv_est=lambda _: (lambda f: f), register_policy_loss=lambda _: (lambda f: f)))

    loss = folder / "OpenRLHF/openrlhf/models/loss.py"
    utils = definitions(folder / "OpenRLHF/openrlhf/models/utils.py", ["compute_approx_kl", "compute_reward", "masked_mean"], namespace())
    definitions(loss, ["aggregate_loss", "SFTLoss", "PolicyLoss", "ValueLoss", "PairWiseLoss", "DPOLoss"], utils)
    definitions(folder / "OpenRLHF/openrlhf/trainer/ppo_utils/length_penalty.py", ["apply_overlong_penalty"], utils)
    definitions(folder / "OpenRLHF/openrlhf/trainer/ppo_utils/kl_controller.py", ["AdaptiveKLController"], utils)
    utils["apply_length_penalties"] = lambda experiences, args: None
    maker = folder / "OpenRLHF/openrlhf/trainer/ppo_utils/experience_maker.py"
    for name in ("compute_advantages_and_returns", "get_advantages_and_returns", "get_cumulative_returns"):
        utils[name] = method(maker, "RemoteExperienceMaker", name, utils)
    out["OpenRLHF"] = utils

    nemo = definitions(folder / "NeMo-RL/nemo_rl/algorithms/utils.py",
                       ["calculate_kl", "calculate_baseline_and_std_per_prompt", "masked_mean", "masked_var"], namespace())
    definitions(folder / "NeMo-RL/nemo_rl/algorithms/loss/interfaces.py", ["LossType", "LossInputType", "MetricNormalizer"], nemo)
    nemo["LossFunction"] = object
    definitions(folder / "NeMo-RL/nemo_rl/algorithms/loss/loss_functions.py", ["ClippedPGLossFn"], nemo)
    definitions(folder / "NeMo-RL/nemo_rl/algorithms/advantage_estimator.py",
                ["GRPOAdvantageEstimator", "ReinforcePlusPlusAdvantageEstimator", "GeneralizedAdvantageEstimator"], nemo)
    out["NeMo-RL"] = nemo

    out["DRPO"] = definitions(folder / "DRPO/verl/verl/trainer/ppo/core_algos.py", ["compute_policy_loss_drpo"],
                              namespace(verl_F=masked_functions(folder / "DRPO/verl/verl/utils/torch_functional.py")))
    with contextlib.suppress(ImportError):
        from sklearn.cluster import KMeans

        out["QoQ_Med"] = definitions(
            folder / "QoQ_Med/verl/trainer/core_algos.py",
            ["_select_k_elbow", "_cluster_info_question", "compute_drpo_outcome_advantage"],
            namespace(KMeans=KMeans, EPS_DEFAULT=1e-6, Any=object))
    out["ROLL"] = namespace(current_platform=types.SimpleNamespace(device_type="cpu"), get_episode_scores=lambda data: data)
    out["ROLL"]["loss"] = method(folder / "ROLL/roll/pipeline/agentic/agentic_actor_pg_worker.py", "ActorWorker",
                                 "_compute_topr_loss", out["ROLL"])
    return out
