#pragma once

#include "actors/job_thread.hpp"
#include "actors/stage_shell.hpp"
#include "runtime/model/checkpoint.hpp"
#include "runtime/model/decoder.hpp"
#include "runtime/pipeline/pipeline.hpp"

#include <memory>
#include <string>
#include <vector>

namespace millrace::actors {

/// Scores every answer by a model with a score head, read at the last token of prompt and answer; adds `reward.<name>`,
/// f32 [answers], and `reward` where the table says so.
///
/// A model that reads the policy's token ids scores exactly what the policy read and wrote (`prompt_tokens`, `tokens`,
/// `lengths`). One with a tokenizer of its own scores the row's conversation with the answer's `text` as its last turn,
/// written by its own chat template.
class reward_model : public stage_work {
public:
  /// @param model with a score head
  /// @param same_tokens it reads the policy's ids
  /// @param device where it scores
  /// @throws input_error if it needs a chat template and has none
  reward_model(pipeline::reward_model_table table, const model::checkpoint& model, bool same_tokens, int threads, at::Device device = at::kCPU);

  /// The role as the pipeline has it, with its model loaded.
  /// @throws input_error in one line: no model with a score head of one label, a tokenizer that reads other ids
  static std::shared_ptr<reward_model> load(const pipeline::pipeline& p, const pipeline::reward_model_table& table, int threads);

  void process(const process_group& group, column_set columns, std::function<void(stage_result)> done) override;

  /// What the table makes of the model's own number.
  static float reward_of(const pipeline::reward_model_table& table, float score);

private:
  std::vector<float> scores(const process_group& group, const column_set& columns) const;

  pipeline::reward_model_table table_;
  model::decoder scorer_;
  std::shared_ptr<const model::tokenizer> tokenizer_; ///< null: it reads the policy's ids
  std::shared_ptr<const model::chat_template> chat_;
  int threads_;
  job_thread thread_;
};

} // namespace millrace::actors
