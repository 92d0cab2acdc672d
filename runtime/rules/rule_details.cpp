#include "runtime/rules/rule_details.hpp"

#include "runtime/words/metric_names.hpp"

namespace millrace::rules {

std::string rule_details::name_of(std::string_view key) {
  std::string name;
  for (const char c : key.substr(0, longest_key)) {
    const bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')
                          || std::string_view("_-.@+").find(c) != std::string_view::npos;
    name += is_plain ? c : '_';
  }
  return name.empty() ? "_" : name;
}

bool rule_details::counts(const std::string& rule, const std::string& key) {
  auto& keys = keys_[rule];
  if (keys.contains(key))
    return true;
  if (keys.size() < most_keys) {
    keys.insert(key);
    return true;
  }
  return false;
}

std::string rule_details::add(const rule_set& rules, std::span<const rule_set_score> scores, std::size_t answers,
                              std::map<std::string, summed>& summary) {
  const std::lock_guard hold(lock_);
  std::string line;
  for (const auto& score : scores.first(answers))
    for (std::size_t r = 0; r < rules.rules().size(); ++r) {
      const std::string& rule = rules.rules()[r].name;
      for (const auto& [written, value] : score.by_rule[r].metrics) {
        const std::string key = name_of(written);
        if (!counts(rule, key)) {
          if (told_.insert(rule).second && line.empty())
            line = rule + " gives more than " + std::to_string(most_keys)
                   + " keys beside its score; the first ones are figures, others, such as " + key + ", are left out";
          continue;
        }
        auto& sum = summary[metric::rule_detail(rule, key)];
        sum.sum += value;
        ++sum.count;
      }
    }
  return line;
}

} // namespace millrace::rules
