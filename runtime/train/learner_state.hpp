#pragma once

#include "algorithms/algorithm.hpp"
#include "runtime/model/decoder.hpp"
#include "runtime/train/held_parameters.hpp"
#include "runtime/train/learner.hpp"
#include "runtime/train/memory_shortage.hpp"
#include "runtime/train/micro_batch_task.hpp"
#include "runtime/train/micro_batches.hpp"
#include "runtime/train/step_columns.hpp"

#include <ATen/core/Tensor.h>

#include <optional>
#include <vector>

namespace millrace::train {

/// What a learner holds from step to step, and the steps of a step. learner.cpp makes, saves and restores it;
/// learner_step.cpp trains.
struct learner::state {
  learner_options options;
  const algorithms::algorithm& row;
  algorithms::hyperparameter_values values;
  at::Device device;
  std::optional<model::adapter> adapter;
  model::rounded_weights rounded;
  model::rounded_weights* half = options.computes == precision::bfloat16 ? &rounded : nullptr;
  model::arithmetic arithmetic{options.computes, half, options.rounds_weights};
  model::passes_at_once passes = passes_of(options.micro_batches_at_once, options.threads, device, options.seat.place);
  std::unique_ptr<held_parameters> held; ///< what is trained
  model::decoder decoder;
  std::vector<model::decoder> beside; ///< of passes that are computed beside the first, over their leaves
  adamw optimizer;
  std::optional<group_pieces> pieces; ///< where ranks share out groups
  memory_bound bound;
  team ranks;
  std::vector<training_group> texts; ///< of the next step
  double text_coefficient = 0;
  model::weights merged;       ///< with an adapter
  std::int64_t merged_at = -1; ///< optimizer steps

  state(model::model_config config, const model::weights& parameters, learner_options given);

  const model::weights& trained() const { return held->leaves(); }

  /// @throws input_error where the file is not that of this model
  model::weights start_of(const std::filesystem::path& folder) const;

  /// Whether the KL coefficient follows a target.
  bool adapts() const { return options.kl_control.target > 0; }

  step_report train(std::span<const training_group> given, std::uint32_t version, const std::stop_token& stop,
                    step_part where);

private:
  /// Of a micro-batch, under the current weights.
  struct outputs {
    at::Tensor logprob; ///< [tokens of the micro-batch]; zeros for a score head
    at::Tensor entropy; ///< [tokens]
    at::Tensor score;   ///< [answers], of a score head only
    at::Tensor fed;     ///< [tokens fed] int64
  };

  /// A step under way.
  struct step_state {
    std::span<const training_group> groups;
    step_batch batch;
    std::vector<update_part> parts;
    std::vector<training_group> taught_groups; ///< `groups`, where some groups teach nothing
    at::Tensor taught_tokens; ///< undefined where all teach; else [tokens of `groups`] int64, their places
    step_part where;
    const std::stop_token& stop;
    step_report report;
    std::vector<std::int64_t> cuts; ///< of the passes so far, as `step_report::cuts`
  };

  enum class update_end { applied, far, not_finite, stopped };

  void train_groups(step_state& step, std::uint32_t version);
  bool wants_old_pass(const step_state& step) const;

  /// What a micro-batch is fed at most in the pass to come.
  std::int64_t cut_of_next_pass(const step_state& step) const {
    const auto& given = step.where.cuts;
    if (!given)
      return bound.tokens();
    return step.cuts.size() < given->size() ? (*given)[step.cuts.size()] : options.micro_batch_tokens;
  }

  /// How the micro-batches of that pass are cut.
  cut_rule rule_of_next_pass(const step_state& step) const {
    return {.budget = cut_of_next_pass(step), .whole = row.whole, .at_once = options.micro_batches_at_once};
  }

  /// What a pass over micro-batches of `groups` tells `bound`; the micro-batches are still to be entered.
  memory_bound::tried tried(const step_state& step, std::span<const training_group> groups) const {
    return {.groups = groups, .whole_groups = row.whole == algorithms::unit::group, .may_cut = !step.where.cuts};
  }

  template <class Pass>
  auto pass(step_state& step, Pass once);
  bool take_old_logprobs(step_state& step);
  at::Tensor old_logprobs(const step_state& step);
  void take_returns(step_state& step) const;
  bool take_advantages(step_state& step) const;
  void leave_flat_groups_out(step_state& step) const;
  void update_all(step_state& step);
  update_end update(step_state& step, update_part& part);
  update_end update_once(step_state& step, const update_part& part);
  bool take_in(step_state& step, const micro_batch& batch, const micro_batch_result& result, int at_once) const;
  double add_text_gradients(const step_state& step);
  std::vector<int> hand_round(const step_state& step, const update_part& part, std::span<const std::size_t> order);
  micro_batch_task policy_task(const step_state& step, const update_part& part, const micro_batch& batch) const;

  /// The decoder of a pass.
  const model::decoder& decoder_of(std::size_t pass) const { return pass == 0 ? decoder : beside.at(pass - 1); }

  collective::parcel compute(const collective::parcel& task, std::size_t pass);
  micro_batch_result policy_gradient(const micro_batch_task& task, std::size_t pass);
  micro_batch_result text_gradient(const micro_batch_task& task, std::size_t pass);
  outputs forward(const micro_batch_task& task, std::size_t pass) const;
  outputs language_model(const micro_batch_task& task, double temperature, std::size_t pass) const;
  algorithms::answer_columns columns_of(const micro_batch_task& task, const outputs& out) const;
  at::Tensor opinion_of(const algorithms::answer_columns& answers) const;
  void observe(const micro_batch_task& task, const algorithms::answer_columns& answers,
               micro_batch_result& result) const;
};

} // namespace millrace::train
