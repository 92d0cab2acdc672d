#pragma once

#include "actors/job_thread.hpp"
#include "actors/stage_shell.hpp"
#include "runtime/model/decoder.hpp"

namespace millrace::actors {

/// Log-probabilities of every answer token under a frozen model. Reads `prompt_tokens`, `tokens`, `lengths`; adds
/// `ref_logprob`, f32 [sum of lengths], at the temperature the answers were sampled at.
class reference : public stage_work {
public:
  /// @param frozen packed
  reference(std::shared_ptr<const model::decoder> frozen, double temperature, int threads)
      : frozen_(std::move(frozen)), temperature_(temperature), threads_(threads) {}

  void process(const process_group& group, column_set columns, std::function<void(stage_result)> done) override;

private:
  std::shared_ptr<const model::decoder> frozen_;
  double temperature_;
  int threads_;
  job_thread thread_;
};

} // namespace millrace::actors
