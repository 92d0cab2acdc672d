#pragma once

#include "runtime/pipeline/planned_abilities.hpp"
#include "runtime/pipeline/vocabulary.hpp"
#include "runtime/words/byte_count.hpp"
#include "runtime/words/columns.hpp"
#include "runtime/words/limits.hpp"
#include "runtime/words/precision.hpp"

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace millrace::pipeline {

/// `kind = "rollout"`: samples answers from the policy's weights.
struct rollout_table {
  static constexpr std::string_view kind = "rollout";
  static constexpr std::string_view summary = "samples answers with the policy's weights";
  static constexpr bool heavy = true;
  static constexpr bool replicated = true;

  std::string model;
  std::int64_t answers_per_prompt = 8;
  std::int64_t max_new_tokens = 256;
  std::int64_t slots = 32;
  byte_count cache_bytes;
  sampling_precision cache_dtype = sampling_precision::float32;
  bool prefix_cache = true;
  double temperature = 1;
  std::int64_t top_k = 0;
  double top_p = 1;
  double min_p = 0;
  std::vector<std::string> stop;
  bool greedy_baseline = false;
  std::string environment;
  std::int64_t max_turn_tokens = 0;
  std::int64_t open_episodes = 0;
  std::string serve;
  std::filesystem::path token_file;
  std::int64_t serve_slots = 8;

  bool operator==(const rollout_table&) const = default;

  planned_abilities abilities() const {
    return {
        .takes_weights = true, .answers = static_cast<std::int32_t>(answers_per_prompt), .environment = environment};
  }

  std::vector<std::string> reads(const vocabulary&) const {
    return column::names(column::prompt, column::prompt_lengths);
  }

  std::vector<std::string> adds() const {
    auto columns = column::names(column::prompt_tokens, column::tokens, column::mask, column::logprob, column::version,
                                 column::lengths, column::finish, column::text, column::text_lengths,
                                 column::recomputed, column::kept);
    if (greedy_baseline)
      columns.emplace_back(column::greedy.name);
    if (!environment.empty())
      for (auto& name : column::names(column::turns, column::turn_begins, column::turn_ends, column::turn_reward,
                                      column::turn_new_segment, column::episode, column::episode_lengths))
        columns.push_back(std::move(name));
    return columns;
  }

  template <class Self, class Visitor>
  static void visit(Self& s, Visitor& v) {
    v("model", s.model, needed(), "the [models.*] table that it decodes with");
    v("answers_per_prompt", s.answers_per_prompt, between(1, 1024), "answers sampled for each prompt: the group");
    v("max_new_tokens", s.max_new_tokens, between(1, 1 << 20), "tokens of the longest answer");
    v("slots", s.slots, between(1, 4096), "answers decoded at once, in each process");
    v("cache_bytes", s.cache_bytes, between(0, 9007199254740992),
      "most memory for keys and values, in each process: when it is full, the newest answers wait; 0 = no bound");
    v("cache_dtype", s.cache_dtype, any(), "what keys and values are kept as");
    v("prefix_cache", s.prefix_cache, any(),
      "prompts that begin with tokens whose keys and values the process still has, from other groups or from earlier "
      "turns, compute only the rest; the answers are the same");
    v("temperature", s.temperature, above(0, 100), "softmax temperature");
    v("top_k", s.top_k, between(0, 1 << 20), "sample from this many likeliest tokens; 0 = all");
    v("top_p", s.top_p, above(0, 1), "sample from the likeliest tokens that hold this probability; 1 = all");
    v("min_p", s.min_p, between(0, 1),
      "sample from tokens with at least this share of the likeliest one's probability; 0 = all");
    v("stop", s.stop, any(), "strings that end an answer");
    v("greedy_baseline", s.greedy_baseline, any(),
      "one more answer a prompt, always the likeliest token: its reward is the group's baseline, it is not trained "
      "(ReMax)");
    v("environment", s.environment, any(),
      "the role of kind \"environment\" that its answers are episodes with; \"\": an answer is one turn");
    v("max_turn_tokens", s.max_turn_tokens, between(0, 1 << 20),
      "tokens of the longest turn of an episode, whose whole length is max_new_tokens; 0 = no bound of its own");
    v("open_episodes", s.open_episodes, between(0, 1 << 20),
      "episodes that each process has open at once, those that wait for their environment too, in whole groups; as "
      "many as slots and a group more are always open");
    v("serve", s.serve, any(),
      "an address and a port at which clients may ask the policy as they ask OpenAI, beside the run; a process more "
      "has "
      "the next port; port 0: one that is free; \"\": nobody is served");
    v("token_file", s.token_file, any(),
      "file with the token that clients show as Bearer; an address that others can reach needs it");
    v("serve_slots", s.serve_slots, between(1, 4096),
      "most answers of clients that are decoded at once, in each process: they have slots before the run's; fewer "
      "than `slots`");
  }
};

} // namespace millrace::pipeline
