#!/usr/bin/env python3
"""Makes tests/golden/models/tiny-chat: a llama of two layers with random weights that chats in ChatML, for tests that run
the whole program in seconds. What it says is noise; that its tokens, end token and template are those of a real chat
model is what the tests need.

Run with the peers' environment (torch, transformers, tokenizers):  python tests/golden/make_tiny_chat.py
"""
import pathlib

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

FOLDER = pathlib.Path(__file__).parent / "models" / "tiny-chat"
CHATML = ("{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
          "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")
TEXT = ["What is 47 plus 12? Reply with the number only.", "user assistant system", "The answer is 59. The number is what they want."]
MERGES = 60

tokenizer = Tokenizer(models.BPE())
tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
    [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
tokenizer.decoder = decoders.ByteLevel()
specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
tokenizer.train_from_iterator(TEXT, trainers.BpeTrainer(
    vocab_size=len(specials) + 256 + MERGES, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False,
    special_tokens=[AddedToken(text, special=True) for text in specials]))
PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>",
                        chat_template=CHATML).save_pretrained(FOLDER)

end = tokenizer.token_to_id("<|im_end|>")
config = LlamaConfig(vocab_size=tokenizer.get_vocab_size(), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
                     num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512, tie_word_embeddings=True,
                     bos_token_id=tokenizer.token_to_id("<|endoftext|>"), eos_token_id=end, pad_token_id=0)
model = LlamaForCausalLM(config)
generator = torch.Generator().manual_seed(1)
with torch.no_grad():
    for name, parameter in sorted(model.named_parameters()):
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.copy_(1 + 0.1 * noise if "norm" in name else 0.15 * noise)
model.generation_config.eos_token_id = end
model.save_pretrained(FOLDER)
