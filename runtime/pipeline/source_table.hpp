#pragma once

#include "runtime/pipeline/planned_abilities.hpp"
#include "runtime/pipeline/vocabulary.hpp"
#include "runtime/words/columns.hpp"
#include "runtime/words/limits.hpp"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace millrace::pipeline {

/// `generator = { ... }` of a source: prompts made up, endlessly, as a pure function of (seed, index).
struct generator_table {
  std::string type = "arithmetic";
  std::string operation = "add";
  std::int64_t min = 10;
  std::int64_t max = 99;
  std::int64_t seed = -1;
  std::string suffix = "Reply with the number only.";

  bool operator==(const generator_table&) const = default;

  template <class Self, class Visitor>
  static void visit(Self& s, Visitor& v) {
    v("type", s.type, one_of({"arithmetic"}), "what is made up");
    v("operation", s.operation, one_of({"add", "subtract", "multiply"}), "what to do with the two numbers");
    v("min", s.min, between(-1000000000, 1000000000), "smallest number");
    v("max", s.max, between(-1000000000, 1000000000), "largest number");
    v("seed", s.seed, between(-1, 9007199254740992), "seed of the numbers; -1 = the run's");
    v("suffix", s.suffix, any(), "text after the question");
  }
};

/// `kind = "source"`: where prompts come from.
struct source_table {
  static constexpr std::string_view kind = "source";
  static constexpr std::string_view summary = "gives prompts and their answers";
  static constexpr bool heavy = false;      ///< whether its work fills cores for long
  static constexpr bool replicated = false; ///< whether it may run in several processes

  std::filesystem::path file; ///< exactly one of `file` and `generator`
  std::optional<generator_table> generator;
  bool shuffle = true;
  std::int64_t epochs = 0;
  std::int64_t max_prompt_tokens = 1024;
  std::string system;

  bool operator==(const source_table&) const = default;

  static constexpr planned_abilities abilities() { return {.gives_prompts = true}; }

  std::vector<std::string> reads(const vocabulary&) const { return {}; }

  std::vector<std::string> adds() const {
    return column::names(column::prompt, column::prompt_lengths, column::answer, column::data_source,
                         column::extra_info, column::demonstrations, column::demonstration_lengths,
                         column::demonstration_turns, column::margin);
  }

  template <class Self, class Visitor>
  static void visit(Self& s, Visitor& v) {
    v("file", s.file, any(), "JSONL, rows as docs/rows.md has them; relative to the pipeline file's folder");
    v("generator", s.generator, any(), "made-up prompts instead of a file");
    if (!s.generator) {
      v("shuffle", s.shuffle, any(), "a new order of the file's rows each epoch");
      v("epochs", s.epochs, between(0, 1e9), "times through the file; 0 = endless");
    } else {
      v.refuse("shuffle", "a generator has no rows to shuffle");
      v.refuse("epochs", "a generator never ends");
    }
    v("max_prompt_tokens", s.max_prompt_tokens, between(1, 1 << 20),
      "tokens of the longest prompt used; longer rows are skipped");
    v("system", s.system, any(), "system message before prompts that have none; empty = none");
  }
};

} // namespace millrace::pipeline
