#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace millrace::roles {

/// One answer to a held-out prompt.
struct scored_answer {
  double reward = 0;
  bool correct = false;
  std::string vote; ///< what it states; "" = nothing
  std::int64_t tokens = 0;
  bool cut_off = false;  ///< at the token limit
  bool unscored = false; ///< scoring failed: nothing is known of the answer
};

/// Sums up an evaluation, prompt by prompt. Means are over prompts, each of them a mean over its n answers:
///
///     pass@k    unbiased, for each k asked for      avg@n     share of correct answers
///     maj@n     whether the majority is right (where any answer votes)   reward  mean reward
///     length/mean  tokens an answer                 length/clip_ratio  share of answers cut off
///     rows      prompts                             answers   in all
///     unscored  prompts with an answer that could not be scored: they are in no mean but those of lengths
///
/// Where prompts belong to more than one task (the row's `data_source`), each task has the first four under
/// "task/name". The order of prompts and of answers changes nothing but rounding.
class evaluation_tally {
public:
  /// @param answers n of each prompt, >= 1   @param pass_at each in [1, n]
  evaluation_tally(std::int64_t answers, std::vector<std::int64_t> pass_at);

  /// @param answers `n` of them
  void add(const std::string& task, std::span<const scored_answer> answers);

  std::map<std::string, double> figures() const;

  std::int64_t tokens() const { return tokens_; }

private:
  struct sums {
    double rows = 0;
    std::map<std::string, double> of; ///< by figure
  };

  std::int64_t answers_;
  std::vector<std::int64_t> pass_at_;
  std::map<std::string, sums> by_task_;
  std::int64_t tokens_ = 0;
  std::int64_t cut_off_ = 0;
  std::int64_t unscored_ = 0;
  bool voted_ = false; ///< an answer has stated something
};

} // namespace millrace::roles
