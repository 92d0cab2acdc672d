#pragma once

#include "algorithms/kl_controller.hpp"
#include "algorithms/policy_loss.hpp"
#include "runtime/model/activations.hpp"
#include "runtime/model/adapter.hpp"
#include "runtime/model/model_config.hpp"
#include "runtime/model/weights.hpp"
#include "runtime/train/optimizer.hpp"
#include "runtime/train/step_report.hpp"
#include "runtime/train/team.hpp"
#include "runtime/train/training_group.hpp"
#include "runtime/words/age_mask.hpp"
#include "runtime/words/precision.hpp"

#include <cstdint>
#include <filesystem>
#include <future>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

namespace millrace::train {

struct learner_options {
  std::string algorithm = "grpo";
  std::map<std::string, double> algorithm_options; ///< by the names in the algorithm's row
  algorithms::loss_options loss;
  algorithms::kl_control kl_control;  ///< with a target, kl_coefficient follows it from step to step
  optimizer_options optimizer;        ///< its learning rate is that of the step, in each of the step's updates
  std::int64_t updates_per_batch = 1; ///< >= 1: parts of whole groups that a pass over the step is cut into
  std::int64_t epochs = 1;            ///< >= 1: passes over the step
  double target_kl = 0; ///< above 0: no further update once KL(proximal || current) of the next part is above
  bool sampled = true;  ///< the answers are a model's, so that their log-probabilities can be compared
  std::optional<model::adapter> adapter;  ///< trained in place of the parameters; nothing: the parameters are
  double temperature = 1;                 ///< > 0; the one the answers were sampled at
  std::int64_t micro_batch_tokens = 2048; ///< fed tokens of one forward pass, >= 1; one answer always fits
  int micro_batches_at_once = 1;          ///< >= 1: that an update is cut for; computed as `passes_of` says
  bool skip_flat_groups = true;           ///< see `taught_part`; only where the gradient is the same without them
  double turn_discount = 1;               ///< of groups with `turns`: what the next turn's reward counts, in [-1, 1]
  model::activations activations = model::activations::kept;
  precision computes = precision::float32; ///< what passes multiply; parameters and their gradients are fp32 always
  bool rounds_weights = false;             ///< passes in fp32 compute with the parameters rounded to bfloat16
  int threads = 0;                         ///< of this process's LibTorch; 0: leave them as they are
  std::string device = "auto";             ///< "auto", "cpu", "cuda", "cuda:1"
  team_seat seat = {};                     ///< among the learner's processes
  /// The groups that this rank keeps, where ranks share them out: `shares_groups` says where they can. Else empty.
  group_pieces::find kept = {};
};

/// Whether the gradient of a group's answers takes only rewards, lengths and masks of the step's other groups, and so
/// ranks can share groups out. Not where advantages or corrections are made of what was said of tokens (GAE, V-trace,
/// KL in the reward), nor where several updates a step are anchored at one recomputed policy.
bool shares_groups(const learner_options& options);

/// Whether the targets of a critic are made of the policy's log-probabilities: V-trace's.
bool makes_returns(const std::string& algorithm);

/// Which part of a training step some groups are: a step may come in several, each as soon as its groups are there.
struct step_part {
  bool begins = true; ///< it is the step's first: its weights are the version that the step trains
  bool ends = true;   ///< it is the step's last
  bool moves = true;  ///< false: nothing is trained, the groups are only looked at (their rewards, their ages)
  age_mask mask = age_mask::none; ///< how `mask_old` has marked the groups, for ranks that keep some of them
  std::uint32_t train_from = 0;
  /// Of a step that is made again: `step_report::cuts` of then. Nothing: as there is memory.
  std::optional<std::vector<std::int64_t>> cuts = {};
};

/// Trains a decoder: packs groups, runs them in micro-batches, applies `epochs` times `updates_per_batch` optimizer
/// updates a step. Holds the fp32 master parameters, or its rank's share; passes in bfloat16 take those rounded, once
/// an update. Not thread-safe. The same inputs, options and threads of a pass give the same parameters bit for bit,
/// whatever the number of ranks.
///
/// A step goes: `gather_columns` (what is not finite is left out) - a pass without gradients for `old_logprob`, only
/// where somebody needs it - the row's advantages, and the groups that teach nothing leave - for each update:
/// micro-batches of forward, `policy_loss`, backward, then the optimizer. A pass over micro-batches that memory runs
/// out over begins again with less at a time (`memory_bound`). What sits on the decoder's output (another head, another
/// loss) belongs into `state::columns_of`, what changes parameters or gradients (adapters) into the constructor of
/// `state` and `state::update_once`. The ranks of a learner are a `team`.
class learner {
public:
  /// Copies `parameters` to the device.
  /// @throws input_error for parameters that do not fit `config`; std::invalid_argument for options out of range
  learner(model::model_config config, const model::weights& parameters, learner_options options);
  ~learner();
  learner(learner&&) noexcept;
  learner& operator=(learner&&) noexcept;

  /// One step on whole groups, or a part of one: all its optimizer updates.
  ///
  /// In a step of several parts the recomputed proximal policy is that of the step's start, of which a copy is kept
  /// until the step ends. Advantages, whitening and corrections that see a whole step see the part.
  ///
  /// A loss or gradient that is not finite ends the step: the parameters stay as the updates before left them, and the
  /// report says so and names the groups. A group with a number that is not finite is left out and named; where none is
  /// left, nothing is done. `stop`, looked at between micro-batches until the first update, leaves everything as it
  /// was.
  ///
  /// @param groups  at least one; a group's columns of one shape. Where ranks share out groups, those that others keep
  ///                are outlines
  /// @param version the policy version that the parameters were when the step began: for staleness and the learning
  /// rate
  /// @throws std::invalid_argument naming the group whose columns disagree; too_large
  step_report step(std::span<const training_group> groups, std::uint32_t version, std::stop_token stop = {},
                   step_part part = {});

  /// The life of a rank that does not lead: computes and changes what the first rank's `step`s say, until there is no
  /// group of ranks any more. Everything else of this class is the first rank's.
  void follow();

  /// The step under way has had its last part, with no groups in it.
  void end_step();

  /// Plain text that the next step learns beside its groups: `coefficient` times the mean loss of its tokens joins the
  /// loss of each update. The prompt of a text is its first token, its only answer the rest.
  /// @throws std::invalid_argument where the algorithm trains a score head
  void mix(std::vector<training_group> texts, double coefficient);

  /// Current parameters by name, on the learner's device; the very tensors the next step changes. With an adapter:
  /// merged, as they are now. Where the ranks hold shares: copies on the CPU, for which all ranks work.
  /// @throws std::runtime_error a rank is gone that has a share of them
  model::weights parameters() const;

  /// Whether each rank has only a share of the parameters.
  bool in_shares() const;

  /// This rank's share of `version_parameters`, as `held_parameters::own`.
  model::weights version_share() const;

  /// What is trained, tensor by tensor: names and shapes, of memory that may be away.
  const model::weights& trained() const;

  /// What a rank's `version_share` consists of.
  std::vector<parameter_piece> pieces(int rank) const;

  /// As `team`'s.
  void on_errand(team::errand how);
  std::vector<collective::parcel> send_on_errand(const collective::parcel& order) const;

  /// The parameters as they were when the step under way began: those of the newest whole version. `parameters` between
  /// steps.
  model::weights version_parameters() const;

  /// `version_parameters`, not to be changed by the next update as long as somebody has them. @returns nullptr where
  /// that needs a copy
  std::shared_ptr<const model::weights> lend_version() const;

  /// The adapter that `version_parameters` are merged with; nothing: there is none. Tensors as `parameters`.
  std::optional<model::adapter> version_adapter() const;

  /// What is trained in place of the parameters; nullptr: they are trained themselves. Tensors as `parameters`.
  const model::adapter* adapter() const;

  /// Of `parameters`, or of the adapter.
  std::uint64_t trained_numbers() const;

  /// Optimizer updates applied so far.
  std::int64_t steps() const;

  /// Of the next step's loss: the option, or what it has adapted to.
  double kl_coefficient() const;

  /// Begins to write optimizer moments, the update count, an adapted KL coefficient and, within a step, the copy of the
  /// step's start to `folder`. Ranks that share out parameters or moments write their shares at the same time, so all
  /// of them see the folders. A step may begin meanwhile: its first update waits for the writing.
  /// @param weights a folder, which gets the files of the weights (`model::checkpoint_parts`); empty, and with an
  ///        adapter: parameters are the caller's business
  /// @returns the end of this rank's own writing, for any thread to wait for
  /// @throws input_error; std::runtime_error a rank is gone that has a share of them
  std::shared_future<std::string> begin_to_save(const std::filesystem::path& folder,
                                                const std::filesystem::path& weights = {}) const;

  /// Waits until everything is written. @throws as `begin_to_save`
  void end_saving() const;

  /// Both.
  void save_state(const std::filesystem::path& folder, const std::filesystem::path& weights = {}) const {
    begin_to_save(folder, weights);
    end_saving();
  }

  /// Reads what was saved; with the same parameters, training goes on bit for bit.
  /// @throws input_error naming the file that is missing, truncated or of another model
  void load_state(const std::filesystem::path& folder);

private:
  struct state;
  std::unique_ptr<state> state_;
};

} // namespace millrace::train
