#include "tools/commands/algorithm_page.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <span>
#include <string_view>
#include <vector>

namespace millrace::tools {
namespace {

std::string number(double x) {
  char text[32];
  std::snprintf(text, sizeof text, "%.12g", x);
  return text;
}

/// As TOML has it: a real number keeps its point.
std::string toml_number(double x) {
  const std::string text = number(x);
  return text.find_first_of(".en") == std::string::npos ? text + ".0" : text;
}

std::string in_quotes(std::string_view word) {
  return '"' + std::string(word) + '"';
}

std::string value_of(const algorithms::hyperparameter& o, double x) {
  return o.words.empty() ? number(x) : std::string(o.words[static_cast<std::size_t>(x)]);
}

std::string padded(std::string text, std::size_t width) {
  text.resize(std::max(width, text.size() + 1), ' ');
  return text;
}

std::string options_of(std::span<const algorithms::hyperparameter> options) {
  if (options.empty())
    return "options     none\n";
  std::string out = "options     default       range\n";
  for (const auto& o : options) {
    std::string range;
    for (const auto word : o.words)
      range += (range.empty() ? "" : " | ") + std::string(word);
    if (o.words.empty())
      range = range_in_words(o);
    out += "  " + padded(std::string(o.name), 24) + padded(value_of(o, o.fallback), 14) + padded(range, 22)
           + std::string(o.meaning) + '\n';
  }
  return out;
}

/// Lines of text under a title in the first column.
std::string titled(const std::string& title, std::string_view text) {
  std::string out = padded(title, 12);
  for (const char c : text) {
    out += c;
    if (c == '\n')
      out += std::string(12, ' ');
  }
  return out + '\n';
}

/// What holds for every row that has ratios, and what `algorithm eval` wants of masks.
constexpr const char* of_all_rows = "A log-ratio is clamped to [-20, 20] before its exponential, and beyond it the "
                                    "gradient is 0. Only some peers do so,\n"
                                    "verl and OpenRLHF among them. A token with mask 0 (a tool's words) is in no "
                                    "column and no denominator. In a batch\n"
                                    "of `algorithm eval`, \"mask\" stands in every answer or in none.";

std::string table_of(std::span<const algorithms::hyperparameter> options) {
  std::string out;
  for (const auto& o : options)
    out += (out.empty() ? "" : ", ") + std::string(o.name) + " = "
           + (o.words.empty() ? toml_number(o.fallback) : in_quotes(value_of(o, o.fallback)));
  return out.empty() ? "{}" : "{ " + out + " }";
}

/// Where the answers of a pipeline come from.
enum class answers_from { rollout, demonstrations, preferences };

struct fragment {
  std::string name, algorithm, options, corrections;
  answers_from from = answers_from::rollout;
  bool reference = false, critic = false, greedy_baseline = false, asynchronous = false;
};

constexpr const char* sums = "[roles.prompts]\nkind      = \"source\"\ngenerator = { type = \"arithmetic\", operation "
                             "= \"add\", min = 10, max = 99 }\n\n";

/// The roles before the learner; the last of them is the one it reads answers from.
std::string roles_of(const fragment& f, std::string& learner_from) {
  if (f.from == answers_from::preferences) {
    learner_from = "\"pairs\"";
    return "[roles.prompts]\nkind = \"source\"\nfile = \"build/data/preferences.jsonl\"\n\n"
           "[roles.pairs]\nkind  = \"demonstrations\"\nfrom  = [\"prompts\"]\nmodel = \"smol\"\nform  = "
           "\"preference\"\n\n";
  }
  if (f.from == answers_from::demonstrations) {
    learner_from = "\"answers\"";
    return std::string(sums)
           + "[roles.answers]\nkind  = \"demonstrations\"\nfrom  = [\"prompts\"]\nmodel = \"smol\"\n\n";
  }
  learner_from = "\"rules\"";
  std::string out = std::string(sums)
                    + "[roles.rollout]\nkind  = \"rollout\"\nfrom  = [\"prompts\"]\nmodel = "
                      "\"smol\"\nanswers_per_prompt = 8\nmax_new_tokens     = 64\n"
                    + (f.greedy_baseline ? "greedy_baseline    = true\n" : "")
                    + "\n[roles.rules]\nkind  = \"rule_verifier\"\nfrom  = [\"rollout\"]\n"
                      "rules = [ { type = \"number\", weight = 1.0 }, { type = \"exact\", weight = 0.2 } ]\n\n";
  if (f.reference) {
    learner_from += ", \"frozen\"";
    out += "[roles.frozen]\nkind  = \"reference\"\nfrom  = [\"rollout\"]\nmodel = \"smol\"\n\n";
  }
  if (f.critic) {
    learner_from += ", \"critic\"";
    out += "[roles.critic]\nkind  = \"critic\"\nfrom  = [\"rollout\"]\nmodel = \"smol\"\n\n";
  }
  return out;
}

std::string pipeline_text(const fragment& f) {
  std::string from;
  const std::string roles = roles_of(f, from);
  std::string out = "[run]\nname  = " + in_quotes(f.name)
                    + "\nsteps = 60\n\n[models.smol]\npath = \"build/models/smollm2-135m-instruct.gguf\"\n\n" + roles
                    + "[roles.learner]\nkind  = \"policy\"\nfrom  = [" + from + "]\nmodel = \"smol\"\n"
                    + (f.from == answers_from::rollout ? "publishes_to = [\"rollout\"]\n" : "")
                    + "algorithm    = " + in_quotes(f.algorithm) + '\n';
  if (!f.options.empty())
    out += "algorithm_options = " + f.options + '\n';
  if (!f.corrections.empty())
    out += "loss         = { corrections = [ " + f.corrections + " ] }\n";
  return out + "optimizer    = { name = \"adamw\", lr = 2e-5 }\n\n[schedule]\npreset = "
         + in_quotes(f.asynchronous ? "bounded" : "one_step_off") + "\ngroups_per_step = 4\n";
}

} // namespace

std::string page_of(const algorithms::algorithm& row) {
  std::string columns;
  for (const auto column : row.columns)
    columns += (columns.empty() ? "" : ", ") + std::string(column);
  return titled(std::string(row.name), row.summary) + titled("source", row.source)
         + titled("columns",
                  columns.empty() ? "none beyond tokens and logprob" : columns + ", beside tokens and logprob")
         + titled("formula", row.formula) + titled("aggregation", algorithms::name_of(row.how))
         + titled("corrections",
                  row.corrects ? "none by default: it weighs stale tokens itself, or has none" : "truncated by default")
         + options_of(row.options) + titled("differences", row.differences) + titled("all rows", of_all_rows);
}

std::string page_of(const algorithms::correction& row) {
  std::string out = titled(std::string(row.name), row.summary) + titled("source", row.source)
                    + titled("formula", row.formula)
                    + titled("sees", row.sees == algorithms::scope::step ? "the whole step, before its first update"
                                                                         : "whole answers")
                    + options_of(row.options);
  for (const auto& preset : row.presets) {
    std::string settings;
    for (const auto& setting : preset.settings)
      for (const auto& o : row.options)
        if (o.name == setting.option)
          settings += (settings.empty() ? "" : ", ") + std::string(o.name) + " = " + value_of(o, setting.value);
    out += "preset      " + padded(std::string(preset.name), 26) + settings + '\n';
  }
  return out + titled("differences", row.differences) + titled("all rows", of_all_rows);
}

std::string pipeline_of(const algorithms::algorithm& row) {
  const auto reads = [&](std::string_view column) {
    return std::find(row.columns.begin(), row.columns.end(), column) != row.columns.end();
  };
  fragment f;
  f.name = f.algorithm = row.name;
  f.options = row.options.empty() ? "" : table_of(row.options);
  if (row.on == algorithms::head::score)
    f.from = answers_from::preferences;
  else if (row.columns.empty())
    f.from = answers_from::demonstrations;
  f.reference = reads("ref_logprob");
  f.critic = reads("value");
  f.greedy_baseline = reads("baseline");
  return pipeline_text(f);
}

std::string pipeline_of(const algorithms::correction& row) {
  fragment f;
  f.name = row.name;
  f.algorithm = "grpo";
  std::string options = table_of(row.options);
  f.corrections = "{ type = " + in_quotes(row.name) + (options == "{}" ? " }" : ", " + options.substr(2));
  f.asynchronous = true;
  return pipeline_text(f);
}

} // namespace millrace::tools
