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

inline constexpr const char* any_rows =
    "rows as docs/rows.md has them, in JSONL or Parquet: a file, a folder, or a pattern such as \"data/*.parquet\"; "
    "relative to the pipeline file's folder";
inline constexpr const char* names_of_columns = "what the file calls the columns of a row";
inline constexpr const char* python_of_rows = "a Python that has pyarrow, for Parquet files; empty = python3 of PATH";

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

/// `columns = { ... }` of a source or evaluation: what the data set calls the columns of a row; empty = by our name.
struct column_names_table {
  std::string prompt, answer, data_source, extra_info, messages, completion, chosen, rejected, margin;

  bool operator==(const column_names_table&) const = default;

  template <class Self, class Visitor>
  static void visit(Self& s, Visitor& v) {
    v("prompt", s.prompt, any(), "column of the prompt; a.b = b of the object a");
    v("answer", s.answer, any(), "column of the expected answer");
    v("data_source", s.data_source, any(), "column of the data source");
    v("extra_info", s.extra_info, any(), "column of the rest");
    v("messages", s.messages, any(), "column of a whole conversation");
    v("completion", s.completion, any(), "column of an answer that somebody wrote");
    v("chosen", s.chosen, any(), "column of the better answer");
    v("rejected", s.rejected, any(), "column of the worse answer");
    v("margin", s.margin, any(), "column of how much better it is");
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
  std::optional<column_names_table> columns;
  std::filesystem::path python;
  bool shuffle = true;
  std::int64_t epochs = 0;
  std::int64_t max_prompt_tokens = 1024;
  std::string system;

  bool operator==(const source_table&) const = default;

  static constexpr planned_abilities abilities() { return {.gives_prompts = true}; }

  std::vector<std::string> reads(const vocabulary&) const { return {}; }

  std::vector<std::string> adds() const {
    return column::names(column::prompt, column::prompt_lengths, column::answer, column::data_source,
                         column::extra_info, column::ground_truth, column::demonstrations,
                         column::demonstration_lengths, column::demonstration_turns, column::margin);
  }

  template <class Self, class Visitor>
  static void visit(Self& s, Visitor& v) {
    v("file", s.file, any(), any_rows);
    v("generator", s.generator, any(), "made-up prompts instead of a file");
    if (!s.generator) {
      v("shuffle", s.shuffle, any(), "a new order of the file's rows each epoch");
      v("epochs", s.epochs, between(0, 1e9), "times through the file; 0 = endless");
      v("columns", s.columns, any(), names_of_columns);
      v("python", s.python, any(), python_of_rows);
    } else {
      v.refuse("shuffle", "a generator has no rows to shuffle");
      v.refuse("epochs", "a generator never ends");
      v.refuse("columns", "a generator has no columns to name");
      v.refuse("python", "a generator reads no Parquet file");
    }
    v("max_prompt_tokens", s.max_prompt_tokens, between(1, 1 << 20),
      "tokens of the longest prompt used; longer rows are skipped");
    v("system", s.system, any(), "system message before prompts that have none; empty = none");
  }
};

} // namespace millrace::pipeline
