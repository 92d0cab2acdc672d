#pragma once

#include "runtime/rules/outside_question.hpp"
#include "runtime/workers/worker_pool.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace millrace::rules {

/// What a rule that asks processes is made of.
struct worker_settings {
  workers::worker_command command;
  question_form form = question_form::calls;
  std::size_t count = 1;
  std::chrono::milliseconds deadline{10000}; ///< of one question
  std::chrono::milliseconds start_up{120000};
  int retries = 1;      ///< further tries after a process that died
  bool groups = false;  ///< a question holds the answers of a group, not one
  std::string prompts;  ///< "auto", "text", "messages": how the function wants prompts
  std::string unusable; ///< what was found wrong before anything starts; "" = nothing
};

/// Scores by asking processes that run people's own code. Whatever they do is a score, "not applicable", or a failure
/// of the answers that they were asked about.
class worker_rule final : public rule {
public:
  explicit worker_rule(worker_settings settings);

  score evaluate(const rule_input& input) const override;
  std::vector<score> evaluate_group(std::span<const rule_input> inputs) const override;

  bool wants_groups() const override { return settings_.groups; }

  void give_up() const override { pool_.close(); }

  std::string unusable() const override;
  std::chrono::milliseconds longest(std::size_t callers) const override;

private:
  std::vector<score> ask(std::span<const rule_input> inputs) const;
  std::vector<score> ask_once(std::span<const rule_input> inputs) const;

  worker_settings settings_;
  mutable workers::worker_pool pool_;
  mutable std::atomic<std::uint64_t> next_ = 0;
};

/// A rule's own options and, behind them, those of every rule of this kind.
std::vector<option> with_worker_options(std::vector<option> own);
void take_worker_options(const option_values& given, worker_settings& into);

/// What `reward_worker.py` makes of a user's Python, which the rule's option `python` names.
worker_settings reward_worker(const option_values& given, const std::string& file, const std::string& function,
                              const std::string& style);

} // namespace millrace::rules
