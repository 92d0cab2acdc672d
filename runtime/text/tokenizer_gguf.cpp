#include "runtime/text/tokenizer_gguf.hpp"

#include "runtime/words/input_error.hpp"

namespace millrace::text {
namespace {

constexpr std::int32_t control_token = 3;
constexpr std::int32_t user_defined_token = 4;

enum class words { gpt2, smollm, llama3, qwen2 };

struct known_pre_tokenizer {
  std::string_view name;
  words cut;
};

constexpr known_pre_tokenizer known[] = {
    {"gpt-2", words::gpt2},
    {"smollm", words::smollm},
    {"llama-bpe", words::llama3},
    {"llama3", words::llama3},
    {"llama-v3", words::llama3},
    {"qwen2", words::qwen2},
    {"deepseek-r1-qwen", words::qwen2},
};

/// The last step, which leaves the pieces as they are.
pre_tokenizer_step byte_level() {
  pre_tokenizer_step step;
  step.what = pre_tokenizer_step::kind::byte_level;
  step.use_regex = false;
  return step;
}

/// The last step, which cuts by GPT-2's pattern.
pre_tokenizer_step byte_level_by_words() {
  pre_tokenizer_step step = byte_level();
  step.use_regex = true;
  return step;
}

pre_tokenizer_step split(std::string_view pattern) {
  pre_tokenizer_step step;
  step.what = pre_tokenizer_step::kind::split;
  step.pattern = pattern;
  return step;
}

std::vector<pre_tokenizer_step> steps_of(words cut) {
  switch (cut) {
  case words::gpt2:
    return {byte_level_by_words()};
  case words::smollm: {
    pre_tokenizer_step digits;
    digits.what = pre_tokenizer_step::kind::digits;
    digits.individual_digits = true;
    return {digits, byte_level_by_words()};
  }
  case words::llama3:
    return {split(R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
                  R"(\s*[\r\n]+|\s+(?!\S)|\s+)"),
            byte_level()};
  case words::qwen2:
    return {split(R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
                  R"(\s*[\r\n]+|\s+(?!\S)|\s+)"),
            byte_level()};
  }
  return {};
}

words words_of(const gguf_vocabulary& entries) {
  std::string names;
  for (const known_pre_tokenizer& k : known) {
    if (k.name == entries.pre)
      return k.cut;
    names += (names.empty() ? "" : ", ") + std::string(k.name);
  }
  throw input_error(entries.origin + ": tokenizer.ggml.pre: found \"" + entries.pre + "\", want one of " + names);
}

std::vector<std::pair<std::string, std::string>> read_merges(const gguf_vocabulary& entries) {
  std::vector<std::pair<std::string, std::string>> merges;
  merges.reserve(entries.merges.size());
  for (const std::string& line : entries.merges) {
    const std::size_t space = line.find(' ');
    if (space == std::string::npos || space == 0 || space + 1 == line.size()
        || line.find(' ', space + 1) != std::string::npos)
      throw input_error(entries.origin + ": tokenizer.ggml.merges: entry " + std::to_string(merges.size())
                        + ": found \"" + line + "\", want two tokens with a space between");
    merges.emplace_back(line.substr(0, space), line.substr(space + 1));
  }
  return merges;
}

} // namespace

tokenizer_data tokenizer_from_gguf(gguf_vocabulary entries) {
  const auto wrong = [&](const std::string& what) { return input_error(entries.origin + ": " + what); };
  if (entries.model != "gpt2")
    throw wrong("tokenizer.ggml.model: found \"" + entries.model + "\", want \"gpt2\" (byte-level BPE)");
  if (!entries.token_types.empty() && entries.token_types.size() != entries.tokens.size())
    throw wrong("tokenizer.ggml.token_type: found " + std::to_string(entries.token_types.size()) + " entries, want "
                + std::to_string(entries.tokens.size()) + ", one a token");
  const words cut = words_of(entries);

  tokenizer_data data;
  data.merges = read_merges(entries);
  data.pre_tokenizer = steps_of(cut);
  data.nfc = cut == words::qwen2;
  data.ignore_merges = cut == words::llama3;
  data.bos = entries.bos;
  data.eos = entries.eos;
  data.pad = entries.pad;
  for (std::size_t id = 0; id < entries.token_types.size(); ++id) {
    const std::int32_t type = entries.token_types[id];
    if (type != control_token && type != user_defined_token)
      continue;
    added_token token;
    token.id = static_cast<std::int32_t>(id);
    token.content = entries.tokens[id];
    token.special = type == control_token;
    data.added.push_back(std::move(token));
  }
  if (entries.add_bos.value_or(cut == words::llama3) && entries.bos)
    data.prefix = {*entries.bos};
  data.origin = std::move(entries.origin);
  data.vocabulary = std::move(entries.tokens);
  return data;
}

} // namespace millrace::text
