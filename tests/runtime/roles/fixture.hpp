#pragma once

#include "runtime/columns/column_builder.hpp"
#include "runtime/columns/prompt_columns.hpp"
#include "runtime/pipeline/pipeline.hpp"
#include "runtime/transport/data_plane.hpp"

#include <filesystem>
#include <future>
#include <memory>
#include <string>
#include <vector>

namespace millrace::tests {

/// A model that reads and writes words, small enough for milliseconds.
inline std::filesystem::path tiny_model() {
  return std::filesystem::absolute("tests/golden/models/tiny-chat");
}

/// source -> rollout -> rules -> learner over the tiny model, two groups of two answers a step.
inline pipeline::pipeline tiny_pipeline(const std::vector<std::string>& overrides = {}, const std::string& more = {}) {
  const std::string text = R"([run]
name = "tiny"
steps = 3
device = "cpu"

[models.tiny]
path = ")" + tiny_model().string()
                           + R"("

[roles.prompts]
kind = "source"
generator = { type = "arithmetic" }

[roles.rollout]
kind = "rollout"
from = ["prompts"]
model = "tiny"
answers_per_prompt = 2
max_new_tokens = 4
slots = 4
threads = 1

[roles.rules]
kind = "rule_verifier"
from = ["rollout"]
rules = [ { type = "number", weight = 2.0 }, { type = "length", max = 3, weight = 0.5 } ]

[roles.learner]
kind = "policy"
from = ["rules"]
model = "tiny"
publishes_to = ["rollout"]
threads = 1
optimizer = { lr = 1e-3 }

[schedule]
preset = "synchronous"
groups_per_step = 2
)" + more;
  return pipeline::parse_pipeline(text, "tiny.toml", std::filesystem::current_path(), overrides);
}

inline std::shared_ptr<transport::data_plane> data_plane_of(std::uint64_t node) {
  transport::data_plane_options options;
  options.node = node;
  options.transport = transport::wire::tcp;
  options.key.fill(std::byte{0x5a});
  return std::make_shared<transport::data_plane>(options);
}

/// The columns of one group of two answers, of three tokens and one, as rollout and rules leave them.
inline transport::bundle rollout_columns() {
  static const std::vector<std::int32_t> prompt{5, 6, 7}, tokens{10, 11, 12, 20}, lengths{3, 1}, text_lengths{2, 1};
  static const std::vector<std::uint8_t> mask{1, 1, 1, 1}, finish{0, 1};
  static const std::vector<float> logprob{-1.0f, -2.0f, -3.0f, -4.0f};
  static const std::vector<std::uint32_t> version{0, 0, 1, 1};
  static const std::string text = "127";
  return columns::column_builder()
      .add(column::prompt_tokens, prompt)
      .add(column::tokens, tokens)
      .add(column::mask, mask)
      .add(column::logprob, logprob)
      .add(column::version, version)
      .add(column::lengths, lengths)
      .add(column::finish, finish)
      .add(column::text, text)
      .add(column::text_lengths, text_lengths)
      .finish();
}

inline transport::bundle reward_columns(const std::vector<float>& reward = {1.0f, 0.0f}) {
  return columns::column_builder().add(column::reward, reward).add(column::reward_of("number"), reward).finish();
}

/// The columns of a row.
inline transport::bundle prompt_columns(const std::string& question, const std::string& answer = "") {
  return columns::columns_of(columns::prompt_content{
      .prompt = {{"user", question}}, .answer = answer, .data_source = {}, .demonstrations = {}, .margin = 0});
}

} // namespace millrace::tests
