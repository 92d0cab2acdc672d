#pragma once

#include "runtime/pipeline/pipeline.hpp"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace millrace::test {

/// A folder of its own with an empty `model.gguf`, `rows.jsonl` and `secret` in it; removed at the end.
class pipeline_folder {
public:
  pipeline_folder() {
    static std::atomic<int> count = 0;
    path_ = std::filesystem::temp_directory_path()
            / ("millrace_pipeline_" + std::to_string(::getpid()) + '_' + std::to_string(count++));
    std::filesystem::create_directories(path_);
    for (const char* name : {"model.gguf", "rows.jsonl", "secret"})
      std::ofstream(path_ / name) << "x";
  }

  ~pipeline_folder() { std::filesystem::remove_all(path_); }

  pipeline_folder(const pipeline_folder&) = delete;
  pipeline_folder& operator=(const pipeline_folder&) = delete;

  const std::filesystem::path& path() const { return path_; }

private:
  std::filesystem::path path_;
};

/// Two algorithms and three rules, so that these tests do not follow what the program offers.
inline const pipeline::vocabulary& words() {
  using namespace pipeline;
  const auto make_none = [](const option_values&) -> std::unique_ptr<rules::rule> { return nullptr; };
  const auto make_format = [](const option_values& values) -> std::unique_ptr<rules::rule> {
    if (std::get<std::string>(values.at("pattern")) == "(")
      throw input_error("found a pattern without end, want a regular expression");
    return nullptr;
  };
  static const vocabulary v{
      {{"grpo", {"reward"}, {{"clip_low", 0.2, between(0, 1), "clip below"}}},
       {"rloo", {"reward"}, {}},
       {"ppo", {"reward", "value"}, {}}},
      {{"exact", "", {}, make_none},
       {"number",
        "",
        {{"extract", std::string("last"), one_of({"last", "boxed", "hash"}), "where the number is"}},
        make_none},
       {"format", "", {{"pattern", std::string(), needed(), "regular expression"}}, make_format},
       {"length",
        "",
        {{"min", std::int64_t(0), at_least(0), "tokens"}, {"max", std::int64_t(0), at_least(1), "tokens", true}},
        make_none}},
      {"adamw"}};
  return v;
}

/// A whole pipeline; line numbers matter to the tests.
inline const std::string valid = R"([run]
name = "t"
steps = 10

[models.tiny]
path = "model.gguf"

[roles.prompts]
kind = "source"
generator = { type = "arithmetic" }

[roles.rollout]
kind = "rollout"
from = ["prompts"]
model = "tiny"
slots = 4

[roles.rules]
kind = "rule_verifier"
from = ["rollout"]
rules = [ { type = "number" }, { type = "exact", weight = 0.5 } ]

[roles.learner]
kind = "policy"
from = ["rules"]
model = "tiny"
publishes_to = ["rollout"]
optimizer = { lr = 1e-4 }

[schedule]
groups_per_step = 2
)";

/// `text` with the one occurrence of `from` replaced.
inline std::string changed(std::string text, const std::string& from, const std::string& to) {
  const auto at = text.find(from);
  if (at == std::string::npos || text.find(from, at + 1) != std::string::npos)
    throw std::logic_error("want exactly one '" + from + "'");
  return text.replace(at, from.size(), to);
}

inline pipeline::pipeline parsed(const std::string& text, const std::vector<std::string>& overrides = {}) {
  static const pipeline_folder folder;
  return pipeline::parse_pipeline(text, "p.toml", folder.path(), overrides, words());
}

/// The lines of the errors; empty where there is none.
inline std::vector<std::string> errors_of(const std::string& text, const std::vector<std::string>& overrides = {}) {
  try {
    parsed(text, overrides);
  } catch (const input_error& error) {
    std::vector<std::string> lines{""};
    for (const char* c = error.what(); *c; ++c)
      if (*c == '\n')
        lines.emplace_back();
      else
        lines.back() += *c;
    return lines;
  }
  return {};
}

} // namespace millrace::test
