#pragma once

#include "runtime/model/checkpoint.hpp"
#include "runtime/model/decoder.hpp"
#include "runtime/pipeline/pipeline.hpp"
#include "runtime/roles/abilities.hpp"
#include "runtime/roles/job_thread.hpp"

#include <memory>
#include <string>
#include <vector>

namespace millrace::roles {

/// `kind = "reward_model"`: scores every answer by a model with a score head, read at the last token of prompt and
/// answer.
///
/// A model that reads the policy's token ids scores exactly what the policy read and wrote (`prompt_tokens`, `tokens`,
/// `lengths`). One with a tokenizer of its own scores the row's conversation (`prompt`) with the answer's `text` as its
/// last turn, written by its own chat template. A group that the model cannot score is a complaint.
class reward_model_role : public column_adder {
public:
  /// Whose token ids the model reads.
  enum class ids { of_policy, its_own };

  /// @param model with a score head
  /// @param device where it scores
  /// @throws input_error if it needs a chat template and has none
  reward_model_role(pipeline::reward_model_table table, const model::checkpoint& model, ids reads_ids, int threads,
                    at::Device device = at::kCPU);

  /// The role as the pipeline has it, with its model loaded.
  /// @throws input_error in one line: no model with a score head of one label, a tokenizer that reads other ids
  static std::shared_ptr<reward_model_role> load(const pipeline::pipeline& p, const pipeline::role& role, int threads);

  transport::wanted_columns reads() const override;

  void add(const process_group& group, columns::column_set columns, answer_to<added_columns> done) override;

  /// What the table makes of the model's own number.
  static float reward_of(const pipeline::reward_model_table& table, float score);

private:
  std::vector<float> scores(const columns::column_set& columns) const;
  added_columns added(const columns::column_set& columns) const;

  pipeline::reward_model_table table_;
  model::decoder scorer_;
  std::shared_ptr<const text::tokenizer> tokenizer_; ///< null: it reads the policy's ids
  std::shared_ptr<const text::chat_template> chat_;  ///< null: as above
  int threads_;
  job_thread thread_;
};

} // namespace millrace::roles
