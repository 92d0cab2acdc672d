#pragma once

#include "runtime/columns/column_set.hpp"
#include "runtime/messages/add_columns.hpp"
#include "runtime/messages/checkpoint.hpp"
#include "runtime/messages/evaluate.hpp"
#include "runtime/messages/generate.hpp"
#include "runtime/messages/ranks.hpp"
#include "runtime/messages/train.hpp"
#include "runtime/messages/weights.hpp"
#include "runtime/transport/bundle.hpp"
#include "runtime/transport/wanted_columns.hpp"
#include "runtime/words/ids.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

/// What a role can do, each ability as an interface without an actor. An actor forwards messages to them and answers
/// with what they hand to `done`.
///
/// Unless a method says otherwise:
/// - One thread calls the methods of a role, in the order in which the requests arrived. They return at once and do not
///   throw.
/// - `done` is called exactly once, with the answer, or with a line in `error` and an answer that means nothing. It is
///   called on any thread, perhaps before the method returns. It must not block and must not throw.
/// - A role that is destroyed does not call the open `done`s any more. Nobody destroys a role inside of a `done`.
namespace millrace::roles {

/// @tparam Answer of a request   @param error one line for people; "": the answer is good
template <class Answer>
using answer_to = std::function<void(Answer answer, std::string error)>;

/// What a role says without having been asked. Called on threads of the role; must not block and must not throw.
struct role_events {
  std::function<void(group_generated)> generated = [](auto&&) {};
  std::function<void(group_interrupted)> interrupted = [](auto&&) {};
  std::function<void(generation_lost)> lost = [](auto&&) {};
  std::function<void(evaluation_progress)> progress = [](auto&&) {};
  std::function<void(rank_word)> word = [](auto&&) {};
  std::function<void(ranks_lost)> ranks_are_lost = [](auto&&) {};
  /// The role can do nothing any more. @param why one line
  std::function<void(std::string why)> failed = [](auto&&) {};
};

/// Plays the other side of episodes: EN-1 and EN-2 of `plays_episodes`.
class environment {
public:
  virtual ~environment() = default;

  virtual void begin(const begin_episodes& ask, answer_to<episodes_begun> done) = 0;
  virtual void take(const take_turn& ask, answer_to<turn_taken> done) = 0;
  virtual void end(const end_episodes& ask) = 0;
};

/// Serves clients outside of the run.
class outward {
public:
  virtual ~outward() = default;

  /// The process ends: whoever waits is told so before this returns. Any thread.
  virtual void close() = 0;
};

/// Answers prompts. It keeps the books of `telemetry::process_in_flight` itself.
///
/// Invariants
/// - RO-1: every accepted group ends in exactly one `role_events::generated`, or in one `role_events::interrupted` if
///   it was interrupted, or in one `role_events::lost` if its environment failed. A group that is cancelled ends in
///   none of them.
/// - RO-2: an answer depends on the group's seed and on the weights that sampled each token. It does not depend on
///   other groups or on the process. Which answers of a group are kept does not depend on slots or timing either
///   (`rollout::engine`).
class generator {
public:
  virtual ~generator() = default;

  /// Pulls the prompt, and what an earlier attempt has. `done` with an error: the prompt cannot be used. With
  /// `group_accepted::lost`: a column could not be pulled, and the group may be asked for again.
  /// @param plays whom `ask.played` names; nullptr: the answers are no episodes
  virtual void generate(const generate_group& ask, std::shared_ptr<environment> plays,
                        answer_to<group_accepted> done) = 0;
  virtual void cancel(const cancel_group& ask) = 0;
  virtual void interrupt(const interrupt_group& ask) = 0;
};

/// What a role adds to a group.
struct added_columns {
  transport::bundle columns;
  std::map<std::string, summed> summary = {}; ///< as in `group_columns`
  std::string complaint = {};                 ///< as in `group_columns`
  scoring_outcome scores = {};                ///< as in `group_columns`
};

/// Reads columns of a group and adds others. Whoever calls it pulls the columns and publishes those that are added.
class column_adder {
public:
  virtual ~column_adder() = default;

  /// The columns to pull for `add`.
  virtual transport::wanted_columns reads() const = 0;

  /// May be called on any thread.
  /// @param columns at least the required ones of `reads`
  virtual void add(const process_group& group, columns::column_set columns, answer_to<added_columns> done) = 0;
};

/// Keeps groups for training: its own, or that of the first of its ranks.
class group_keeper {
public:
  virtual ~group_keeper() = default;

  /// Pulls the group's columns and keeps the group for training.
  virtual void fetch(const fetch_group& ask, answer_to<group_fetched> done) = 0;
  virtual void forget(const forget_group& ask) = 0;
};

/// Is trained on groups. A batch is trained by every trainer of the run side by side.
///
/// Invariants
/// - PO-1, CT-1: requests are carried out one after another in the order of arrival. `interrupt` comes in between.
/// - PO-2, CT-2: a group is trained at most once: training it forgets it.
/// - CT-3: a trainer whose `ends_steps` is true changes its parameters in `end_step` only.
class trainer : public group_keeper {
public:
  /// `done` gets the report. A policy applies its gradient; a critic waits for `end_step` with it.
  virtual void train(const train_batch& ask, answer_to<batch_report> done) = 0;
  /// Ends a `train` that runs, between two micro-batches: its report says that it was interrupted.
  virtual void interrupt(const interrupt_training& ask) = 0;

  /// Whether `train` leaves the parameters alone until `end_step` decides.
  virtual bool ends_steps() const = 0;
  /// Applies the gradient of `train`, or does nothing. It waits in the queue behind earlier requests, and every later
  /// request sees the step ended. So `step_ended` may be answered at once. Does nothing where `ends_steps` is false.
  virtual void end_step(const millrace::end_step& how) = 0;

  /// Whether only the role that leads the others can make this trainer's targets: `train_batch::returns`.
  virtual bool needs_returns() const = 0;

  /// Whether the group has been fetched, and neither trained nor forgotten. May be called on any thread.
  virtual bool keeps(group_id group) const = 0;

  /// Parameters that are trained.
  virtual std::uint64_t parameter_count() const = 0;
};

/// Publishes the weights that it trains.
///
/// - PO-3: version v is the parameters after v whole steps, also while a later step is trained in parts.
class weights_giver {
public:
  virtual ~weights_giver() = default;

  /// Takes its turn among the requests of `trainer`.
  virtual void publish(const publish_weights& ask, answer_to<weights_published> done) = 0;
  virtual void hold(const hold_weights& ask) = 0;
  virtual void let_go(const weights_taken& what) = 0;
};

/// Takes up new versions of the weights: a rollout samples from them, a reference that follows averages them in.
///
/// - RO-3, RF-1: versions rise. A version older than the one taken up changes nothing and is answered with the newer
///   one by a rollout, with its own number by a reference.
class weights_taker {
public:
  virtual ~weights_taker() = default;

  /// Pulls the weights. Calls `done` when the role uses them for whatever it does next.
  virtual void take(const new_weights& ask, answer_to<weights_live> done) = 0;
};

/// Answers held-out prompts with the version of the weights that it took last, and scores the answers.
///
/// - EV-2: the figures are a function of the weights and the role's table: the same rows and seeds every time.
/// - EV-3: it works on a thread of its own, at a lower priority.
class evaluator {
public:
  virtual ~evaluator() = default;

  /// Tells `role_events::progress` about once a second.
  virtual void evaluate(const evaluate_version& ask, answer_to<version_evaluated> done) = 0;

  /// Held-out prompts.
  virtual std::uint64_t rows() const = 0;
};

/// Has state that exists only in its process and in checkpoints. The run ends when the process is lost.
class state_keeper {
public:
  virtual ~state_keeper() = default;

  /// Writes into an existing folder. Waits in the same queue as the role's other requests.
  virtual void write(const write_checkpoint& ask, answer_to<checkpoint_written> done) = 0;
};

/// Is one of the ranks that train as one.
class rank {
public:
  virtual ~rank() = default;

  virtual void form(const form_ranks& how) = 0;
  virtual void hear(const rank_word& word) = 0;
  virtual void part(const part_ranks& how) = 0;
};

/// The abilities of one role; null where the role lacks one. Several may be the same object. They live until the last
/// of them is let go of, on a thread that is none of the role's own.
struct role_abilities {
  std::shared_ptr<generator> generates = nullptr;
  std::shared_ptr<column_adder> adds_columns = nullptr;
  std::shared_ptr<trainer> trains = nullptr;
  std::shared_ptr<group_keeper> keeps_groups = nullptr; ///< for another process that trains
  std::shared_ptr<weights_giver> gives_weights = nullptr;
  std::shared_ptr<weights_taker> takes_weights = nullptr;
  std::shared_ptr<evaluator> evaluates = nullptr;
  std::shared_ptr<state_keeper> keeps_state = nullptr;
  std::shared_ptr<rank> joins_ranks = nullptr;
  std::shared_ptr<environment> plays_episodes = nullptr;
  std::shared_ptr<outward> serves_clients = nullptr;
  std::uint32_t places = 0; ///< groups that `generates` takes at once
};

} // namespace millrace::roles
