#!/usr/bin/env python3
"""Writes tests/golden/models/adapter/: an adapter that PEFT made for tiny-chat (random halves), and the logits that PEFT's
model gives for a few tokens. Usage: make_adapter_goldens.py [CHECK_FOLDER]
With a folder: loads the adapter in it with PEFT on top of tiny-chat and prints its logits for the same tokens, as JSON."""

import json
import sys
from pathlib import Path

import peft
import torch
import transformers

HERE = Path(__file__).parent
TOKENS = [1, 17, 42, 99, 5, 63]


def base():
    return transformers.AutoModelForCausalLM.from_pretrained(HERE / "models/tiny-chat", dtype=torch.float32)


def logits(model):
    with torch.no_grad():
        return model(torch.tensor([TOKENS])).logits[0, -1].tolist()


def main():
    if len(sys.argv) > 1:
        print(json.dumps(logits(peft.PeftModel.from_pretrained(base(), sys.argv[1]))))
        return
    torch.manual_seed(3)
    config = peft.LoraConfig(r=4, lora_alpha=6, lora_dropout=0.0, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM")
    model = peft.get_peft_model(base(), config)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    out = HERE / "models/adapter"
    model.save_pretrained(out)
    (out / "README.md").unlink(missing_ok=True)
    settings = json.loads((out / "adapter_config.json").read_text())
    settings["base_model_name_or_path"] = "tiny-chat"
    (out / "adapter_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    (out / "golden.json").write_text(json.dumps({"tokens": TOKENS, "logits": logits(model)}) + "\n")


if __name__ == "__main__":
    main()
