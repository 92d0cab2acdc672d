"""The tokenizers that ids are compared on, as `tokenizers.Tokenizer` objects."""

import json

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace("{1,3}", "")


def split(pattern):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated", invert=False),
                                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def smollm_cut():
    return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])


def smollm2_from_gguf(path):
    """SmolLM2's tokenizer with the vocabulary, merges and control tokens of its GGUF file."""
    import gguf
    fields = gguf.GGUFReader(path).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    merges = [tuple(m.split(" ")) for m in fields["tokenizer.ggml.merges"].contents()]
    types = fields["tokenizer.ggml.token_type"].contents()
    t = Tokenizer(models.BPE(vocab={s: i for i, s in enumerate(tokens)}, merges=merges))
    t.pre_tokenizer = smollm_cut()
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens([tokens[i] for i, kind in enumerate(types) if kind == 3])
    return t


def trained(kind, lines, vocab_size):
    """A byte-level BPE of one family's shape, trained on `lines`. kind: smollm, llama3, qwen2, odd."""
    t = Tokenizer(models.BPE(ignore_merges=kind == "llama3"))
    t.pre_tokenizer = {"smollm": smollm_cut, "llama3": lambda: split(LLAMA3), "qwen2": lambda: split(QWEN2), "odd": odd_cut}[kind]()
    t.decoder = decoders.ByteLevel()
    if kind in ("qwen2", "odd"):
        t.normalizer = normalizers.NFC()
    special = {"smollm": ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], "qwen2": ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
               "llama3": ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"], "odd": ["<s>", "</s>"]}[kind]
    t.train_from_iterator(lines, trainers.BpeTrainer(vocab_size=vocab_size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                                     special_tokens=special if kind == "smollm" else [], show_progress=False))
    t.add_special_tokens(special)
    if kind == "qwen2":
        t.add_tokens([AddedToken("<tool_call>", normalized=False), AddedToken("</tool_call>", normalized=False)])
    if kind == "llama3":
        t.post_processor = processors.TemplateProcessing(single="<|begin_of_text|> $A", pair="<|begin_of_text|> $A <|begin_of_text|> $B",
                                                         special_tokens=[("<|begin_of_text|>", t.token_to_id("<|begin_of_text|>"))])
    if kind == "odd":
        t.add_tokens([AddedToken("caf\u00e9", normalized=True), AddedToken("[L]", lstrip=True), AddedToken("[R]", rstrip=True),
                      AddedToken("[LR]", lstrip=True, rstrip=True, normalized=False), AddedToken("word", single_word=True),
                      AddedToken("<<", normalized=False), AddedToken("<<<", normalized=False), AddedToken("e\u0301e\u0301", normalized=True)])
    return t


def boundaries(kind):
    """A tokenizer of one family's shape whose merges join any byte with the byte before or after it that `sweep` puts there: its
    ids show every cut."""
    marks = ["a", "b", "1", ".", "\u0120", "\u010a"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [(m, x) for m in marks for x in alphabet] + [(x, m) for m in marks for x in alphabet if x not in marks]
    vocab = {token: i for i, token in enumerate(alphabet + [x + y for x, y in merges])}
    t = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    t.pre_tokenizer = {"smollm": smollm_cut, "llama3": lambda: split(LLAMA3), "qwen2": lambda: split(QWEN2)}[kind]()
    t.decoder = decoders.ByteLevel()
    if kind == "qwen2":
        t.normalizer = normalizers.NFC()
    if kind == "llama3":
        t.add_tokens([AddedToken("q", single_word=True), AddedToken("z", rstrip=True, lstrip=True)])
    return t


def odd_cut():
    """No known model's: every behaviour of Split, runs of digits, a space in front."""
    return pre_tokenizers.Sequence([
        pre_tokenizers.Split("--", "removed"), pre_tokenizers.Split(Regex(r"[.,]+"), "merged_with_previous"),
        pre_tokenizers.Split("_", "merged_with_next"), pre_tokenizers.Split(Regex("[=+]"), "contiguous"),
        pre_tokenizers.Split(Regex(r"\S+"), "isolated", invert=True), pre_tokenizers.Digits(individual_digits=False),
        pre_tokenizers.ByteLevel(add_prefix_space=True)])


def special_tokens(t):
    return [a["content"] for a in json.loads(t.to_str())["added_tokens"]]
