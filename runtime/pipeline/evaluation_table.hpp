#pragma once

#include "runtime/pipeline/planned_abilities.hpp"
#include "runtime/pipeline/rule_verifier_table.hpp"
#include "runtime/pipeline/source_table.hpp"
#include "runtime/pipeline/vocabulary.hpp"
#include "runtime/words/limits.hpp"
#include "runtime/words/precision.hpp"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace millrace::pipeline {

/// `kind = "evaluation"`: asks held-out prompts of a published version, with an engine, rows and rules of its own,
/// beside the schedule: nothing waits for it but the end of the run.
struct evaluation_table {
  static constexpr std::string_view kind = "evaluation";
  static constexpr std::string_view summary = "asks held-out prompts of a version and scores the answers";
  static constexpr bool heavy = false; ///< it takes no share of the cores: `threads` are its own, at a lower priority
  static constexpr bool replicated = false;

  std::string model;
  std::filesystem::path file; ///< exactly one of `file` and `generator`
  std::optional<generator_table> generator;
  std::optional<column_names_table> columns;
  std::filesystem::path python;
  std::int64_t rows = 64;
  bool shuffle = false;
  std::string system;
  std::int64_t max_prompt_tokens = 1024;
  std::int64_t every = 0;
  bool at_start = true;
  std::int64_t answers_per_prompt = 4;
  std::vector<std::int64_t> pass_at{1};
  std::vector<std::int64_t> budgets;
  std::string environment;
  std::int64_t max_new_tokens = 256;
  std::int64_t max_turn_tokens = 0;
  std::int64_t slots = 16;
  sampling_precision cache_dtype = sampling_precision::float32;
  std::int64_t threads = 1;
  double temperature = 1;
  std::int64_t top_k = 0;
  double top_p = 1;
  double min_p = 0;
  std::vector<std::string> stop;
  std::int64_t seed = -1;
  std::vector<rule_entry> rules;
  double correct_from = 1;
  double deadline_s = 3600;
  std::int64_t answers_kept = 100;

  bool operator==(const evaluation_table&) const = default;

  planned_abilities abilities() const {
    return {.takes_weights = true,
            .evaluates = evaluation_times{.every = static_cast<std::uint32_t>(every), .at_start = at_start},
            .deadline_s = deadline_s};
  }

  std::vector<std::string> reads(const vocabulary&) const { return {}; }

  std::vector<std::string> adds() const { return {}; }

  template <class Self, class Visitor>
  static void visit(Self& s, Visitor& v) {
    v("model", s.model, needed(), "the [models.*] table that it decodes with: the policy's");
    v("file", s.file, any(), any_rows);
    v("generator", s.generator, any(), "made-up prompts instead of a file; its seed is by default not that of the run");
    v("rows", s.rows, between(0, 1e6), "prompts asked each time, the same ones; 0 = every row of the file");
    if (s.generator && s.generator->endless()) {
      v.refuse("shuffle", "a generator has no rows to shuffle");
      v.refuse("python", "a generator reads no Parquet file");
    } else {
      v("shuffle", s.shuffle, any(), "take them from all over the file, by `seed`");
      v("python", s.python, any(), python_of_rows);
    }
    if (s.generator)
      v.refuse("columns", "a generator has no columns to name");
    else
      v("columns", s.columns, any(), names_of_columns);
    v("system", s.system, any(), "system message before prompts that have none; empty = none");
    v("max_prompt_tokens", s.max_prompt_tokens, between(1, 1 << 20),
      "tokens of the longest prompt; longer rows are skipped");
    v("every", s.every, between(0, 1e9),
      "steps between evaluations; 0 = only before the first step and after the last");
    v("at_start", s.at_start, any(), "evaluate the weights that the run starts with");
    v("answers_per_prompt", s.answers_per_prompt, between(1, 1024), "n: answers sampled for each prompt");
    v("pass_at", s.pass_at, between(1, 1024), "each k of pass@k, at most n");
    v("budgets", s.budgets, between(1, 1 << 20),
      "numbers of tokens: the share of answers that are correct after so many, from one generation; ascending");
    v("environment", s.environment, any(),
      "the role of kind \"environment\" whose type plays its episodes, in processes of its own; \"\": one turn");
    v("max_new_tokens", s.max_new_tokens, between(1, 1 << 20),
      "tokens of the longest answer; of an episode with what its environment says");
    v("max_turn_tokens", s.max_turn_tokens, between(0, 1 << 20), "tokens of one turn of an episode; 0 = no bound");
    v("slots", s.slots, between(1, 4096), "answers decoded at once");
    v("cache_dtype", s.cache_dtype, any(), "what keys and values are kept as");
    v("threads", s.threads, between(1, 1024), "threads of its engine, at a lower priority than every other role's");
    v("temperature", s.temperature, between(0, 100), "softmax temperature; 0 = always the likeliest token");
    v("top_k", s.top_k, between(0, 1 << 20), "sample from this many likeliest tokens; 0 = all");
    v("top_p", s.top_p, above(0, 1), "sample from the likeliest tokens that hold this probability; 1 = all");
    v("min_p", s.min_p, between(0, 1),
      "sample from tokens with at least this share of the likeliest one's probability; 0 = all");
    v("stop", s.stop, any(), "strings that end an answer");
    v("seed", s.seed, between(-1, 9007199254740992),
      "seed of the answers, the same at every evaluation; -1 = the run's");
    v("rules", s.rules, needed(),
      "what is scored; the first that is for the row decides whether an answer is correct, and what it votes for");
    v("correct_from", s.correct_from, between(-1e6, 1e6),
      "an answer is correct if the first rule's score is at least this");
    v("deadline_s", s.deadline_s, above(0, 1e7), "seconds that one evaluation may take; then it is given up");
    v("answers_kept", s.answers_kept, between(0, 1e6),
      "prompts whose answers are written to evaluation_answers.jsonl, each time");
  }
};

} // namespace millrace::pipeline
