#pragma once

#include "runtime/pipeline/one_or_more.hpp"
#include "runtime/pipeline/planned_abilities.hpp"
#include "runtime/pipeline/scoring_keys.hpp"
#include "runtime/pipeline/vocabulary.hpp"
#include "runtime/words/columns.hpp"
#include "runtime/words/limits.hpp"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace millrace::pipeline {

/// Stands in a `visit` for the options of the rule of this type.
struct rule_keys {
  const std::string& type;
};

/// `when = { ... }` of a rule: which rows it is asked about.
struct rule_condition {
  one_or_more data_source;

  bool operator==(const rule_condition&) const = default;

  template <class Self, class Visitor>
  static void visit(Self& s, Visitor& v) {
    v("data_source", s.data_source, needed(), "the data sources of the rows that the rule is for");
  }
};

/// One entry of `rules = [...]`: `{ type = "number", weight = 1.0, name = "number", ... }`. Which further keys it takes
/// is the rule type's own matter (`vocabulary`); `options` holds every one of them.
struct rule_entry {
  std::string type;
  std::string name; ///< of the column `reward.<name>`; empty in the file = `type`
  double weight = 1;
  std::optional<rule_condition> when;
  option_values options;

  bool operator==(const rule_entry&) const = default;

  template <class Self, class Visitor>
  static void visit(Self& s, Visitor& v) {
    v("type", s.type, needed(one_of(names_of(v.words().rules))), "which rule");
    v("name", s.name, any(), "of its column reward.<name>; default: the type");
    v("weight", s.weight, between(-1e6, 1e6), "factor of its score in `reward`");
    v("when", s.when, any(), "the rows that it is for; it has nothing to say of others");
    v.options(rule_keys{s.type}, s.options);
  }
};

/// `kind = "rule_verifier"`: `reward` = sum over the rules of weight times score.
struct rule_verifier_table {
  static constexpr std::string_view kind = "rule_verifier";
  static constexpr std::string_view summary = "scores answers by rules";
  static constexpr bool heavy = false;
  static constexpr bool replicated = true;

  std::vector<rule_entry> rules;
  std::int64_t workers = 2;
  std::int64_t deadline_ms = 1000;
  std::string failed = "drop";
  double max_failures = 0.5;

  bool operator==(const rule_verifier_table&) const = default;

  static constexpr planned_abilities abilities() { return {.adds_columns = true}; }

  /// Whether a rule asks for more of the row than its answer: where it runs people's own code, or is not for every row.
  bool looks_at_rows(const vocabulary& words) const {
    return std::any_of(rules.begin(), rules.end(), [&](const rule_entry& rule) {
      const auto* type = words.rule(rule.type);
      return rule.when || (type && type->outside);
    });
  }

  std::vector<std::string> reads(const vocabulary& words) const {
    auto columns = column::names(column::answer, column::lengths, column::finish, column::text, column::text_lengths);
    if (looks_at_rows(words))
      for (auto& name : column::names(column::prompt, column::prompt_lengths, column::data_source, column::tokens))
        columns.push_back(std::move(name));
    return columns;
  }

  std::vector<std::string> reads_if_added() const {
    return column::names(column::greedy, column::extra_info, column::ground_truth, column::turns, column::turn_begins,
                         column::turn_ends, column::turn_reward);
  }

  std::vector<std::string> adds() const {
    auto columns = column::names(column::reward);
    for (const rule_entry& rule : rules)
      columns.push_back(column::reward_of(rule.name).name);
    return columns;
  }

  template <class Self, class Visitor>
  static void visit(Self& s, Visitor& v) {
    v("rules", s.rules, needed(), "what is scored");
    v("workers", s.workers, between(1, 1024), "answers scored at once");
    v("deadline_ms", s.deadline_ms, between(1, 600000),
      "milliseconds that scoring one answer may take; later = a failure (timeout); rules that run your own code "
      "keep their own deadlines");
    v("failed", s.failed, one_of({"drop", "mask"}),
      "an answer that could not be scored: drop = its group is not trained; mask = it alone is not, nor part of any "
      "mean, and a group with fewer than two others is dropped");
    v("max_failures", s.max_failures, between(0, 1), share_of_failures);
  }
};

} // namespace millrace::pipeline
