"""A policy with random weights that is trained on sums, for programs that measure: its pipeline and its model."""
import array
import json
import pathlib
import random
import shutil
import struct

ROOT = pathlib.Path(__file__).resolve().parents[2]
WORDS = ROOT / "tests/golden/models/tiny-chat"
VOCABULARY = 313

PIPELINE = """
[run]
name = "prediction"
steps = {steps}
seed = 3
trajectories_fraction = 1.0
checkpoint_every = 1000000
[models.random]
path = "model"
[roles.prompts]
kind = "source"
generator = {{ type = "arithmetic" }}
[roles.rollout]
kind = "rollout"
from = ["prompts"]
model = "random"
answers_per_prompt = {answers}
max_new_tokens = 600
slots = 8
stop = ["j", "q", "x"]
threads = 1
[roles.rules]
kind = "rule_verifier"
from = ["rollout"]
rules = [ {{ type = "format", pattern = "[d-m0-9]", match = "search" }} ]
[roles.learner]
kind = "policy"
from = ["rules"]
model = "random"
publishes_to = ["rollout"]
algorithm = "grpo"
optimizer = {{ lr = 1e-12 }}
threads = 1
[placement.rollout]
processes = 1
[schedule]
preset = "bounded"
groups_per_step = {groups}
"""


def settings(sets):
    return [word for one in sets for word in ("--set", one)]


def write_model(folder, shape):
    """A random Llama with the tokenizer of the tiny chat model; shape: hidden size, layers, heads, heads of keys and values,
    size within its feed-forward layers."""
    hidden, layers, heads, kv_heads, ffn = shape
    folder.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"):
        shutil.copy(WORDS / name, folder / name)
    config = json.loads((WORDS / "config.json").read_text())
    config.update(hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=kv_heads,
                  head_dim=hidden // heads, intermediate_size=ffn, max_position_embeddings=1024)
    (folder / "config.json").write_text(json.dumps(config))
    draw = random.Random(5)
    head = hidden // heads
    shapes = {"model.embed_tokens.weight": (VOCABULARY, hidden), "model.norm.weight": (hidden,)}
    for i in range(layers):
        at = f"model.layers.{i}."
        shapes.update({at + "input_layernorm.weight": (hidden,), at + "post_attention_layernorm.weight": (hidden,),
                       at + "self_attn.q_proj.weight": (heads * head, hidden), at + "self_attn.k_proj.weight": (kv_heads * head, hidden),
                       at + "self_attn.v_proj.weight": (kv_heads * head, hidden), at + "self_attn.o_proj.weight": (hidden, heads * head),
                       at + "mlp.gate_proj.weight": (ffn, hidden), at + "mlp.up_proj.weight": (ffn, hidden),
                       at + "mlp.down_proj.weight": (hidden, ffn)})
    header, blobs, offset = {}, [], 0
    for name, size in shapes.items():
        count = size[0] * (size[1] if len(size) > 1 else 1)
        # An embedding of 0.02 keeps the distribution over words flat.
        spread = 0.02 if "embed" in name else hidden ** -0.5
        values = array.array("f", [1.0] * count if len(size) == 1 else [spread * (draw.random() - 0.5) * 12 ** 0.5 for _ in range(count)])
        blobs.append(values.tobytes())
        header[name] = {"dtype": "F32", "shape": list(size), "data_offsets": [offset, offset + 4 * count]}
        offset += 4 * count
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))
