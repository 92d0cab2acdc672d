#pragma once

#include "actors/evaluation_plan.hpp"
#include "actors/policy.hpp"
#include "actors/rollout.hpp"
#include "actors/source.hpp"
#include "actors/stage.hpp"
#include "runtime/schedule/scheduler.hpp"
#include "runtime/telemetry/holdings.hpp"

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace millrace::actors {

/// One role between rollout and policy, as the graph has it.
struct stage_node {
  std::string role;
  std::vector<std::string> from; ///< roles whose columns it waits for
};

/// The graph a group flows through: rollouts (or demonstrations in their place), stages in any order, then the policy.
struct group_graph {
  std::map<std::string, std::int32_t> rollouts; ///< answers a prompt, by role
  std::vector<stage_node> stages;
  std::string policy;
  std::vector<std::string> policy_from;
  bool publishes = true;                         ///< someone wants new weights; else versions are told without them
  std::vector<evaluation_node> evaluations = {}; ///< beside the graph
};

/// What the coordinator does to the world: its actor sends messages, its tests write them down.
class coordination_effects {
public:
  virtual ~coordination_effects() = default;
  virtual void take_prompt(std::uint64_t index) = 0;
  virtual void generate(const role_instance& rollout, const generate_group& what) = 0;
  virtual void cancel(const role_instance& rollout, const cancel_group& what) = 0;
  virtual void interrupt(const role_instance& rollout, const interrupt_group& what) = 0;
  virtual void process(const role_instance& stage, const process_group& what) = 0;
  virtual void fetch(const fetch_group& what) = 0;
  virtual void forget(std::uint64_t group) = 0;
  virtual void release(const std::vector<transport::ticket>& columns) = 0;
  virtual void train(const train_batch& what) = 0;
  virtual void interrupt_training(std::uint64_t step) = 0;
  virtual void publish(std::uint32_t version) = 0;
  virtual void send_weights(const role_instance& rollout, const new_weights& what) = 0;
  /// Before a version is published: its weights live until they are held no more.
  virtual void hold_weights(const hold_weights& what) = 0;
  virtual void evaluate(const role_instance& evaluation, const evaluate_version& what) = 0;
  virtual void checkpoint(std::uint32_t step, const std::string& scheduler_state) = 0;
  /// A step, or a part of one, was trained on these groups.
  virtual void batch_done(const batch_report& report, const std::vector<std::uint64_t>& groups) = 0;
  /// How many groups stand where, after everything an event caused.
  virtual void observe(const schedule::progress& depths) = 0;
  virtual void complain(const std::string& line) = 0; ///< a warning for people
  virtual void finish(schedule::finish_reason reason) = 0;
  /// The run cannot go on; one line why.
  virtual void fail(const std::string& why) = 0;
};

/// What the coordinator knows, with no actor in sight: drives the scheduler with what happens and carries its actions
/// out through `coordination_effects`; walks each group through the graph.
///
/// Invariants
/// - CO-1: a group is handed to a stage when every role it reads from has added its columns, to one copy of the stage
///   at a time, and again to another copy when that one dies.
/// - CO-2: `group_ready` is told to the scheduler only once the group's columns lie in the learner's process: after
///   that only the learner's own death can lose it. Then its bundles are released. With a critic: in its process too.
/// - CO-3: what dies with a process (groups being generated, columns not yet fetched) is told to the scheduler at once.
/// - CO-4: answers of an earlier attempt or an earlier life of a role change nothing.
/// - CO-5: evaluations change nothing that the scheduler sees; the run's end waits for them, unless a person stopped it.
/// - CO-6: what an interrupted group has stays where it was made until the attempt that goes on with it has a copy, or
///   it is void. If its process dies before, the group starts again, and that counts as a lost attempt. It is in no
///   checkpoint: a resumed run starts such groups again.
/// - CO-7: a group that counts as being with a rollout or a stage which says, two reports in a row, that it does not have it
///   (`telemetry::vanished_groups`) is named, and that attempt is lost.
class coordination {
public:
  coordination(group_graph graph, schedule::scheduler scheduler, std::uint64_t run_seed, bool in_flight_update,
               coordination_effects& effects);

  // -- roles ---------------------------------------------------------------------------------------

  /// @param lent it runs on the policy's host
  void rollout_up(const role_instance& who, std::uint64_t node, std::uint32_t capacity_groups, double now, bool lent = false);
  void stage_up(const role_instance& who, std::uint64_t node);
  void policy_up(std::uint64_t node, double now);
  /// A process whose state is nowhere else but in its checkpoint: its end is the run's, as the policy's is.
  void keeper_up(std::uint64_t node, std::string what) { keepers_[node] = std::move(what); }
  void evaluation_up(const role_instance& who, std::uint64_t node);

  /// A process died: every role in it, and every bundle it owned.
  void node_gone(std::uint64_t node, double now);

  // -- groups --------------------------------------------------------------------------------------

  void prompt_arrived(const prompt_row& row, double now);
  void generation_refused(std::uint64_t group, std::uint32_t attempt, const std::string& why, bool retryable, double now);
  /// The rollout has its own copy of what the group goes on with.
  void generation_accepted(std::uint64_t group, std::uint32_t attempt);
  void generated(const group_generated& what, double now);
  void interrupted(const group_interrupted& what, double now);
  void processed(const role_instance& stage, const group_columns& what, double now);
  void processing_failed(const role_instance& stage, std::uint64_t group, std::uint32_t attempt, const std::string& why,
                         double now);
  void fetched(const group_fetched& what, double now);
  void fetch_failed(std::uint64_t group, std::uint32_t attempt, const std::string& why, double now);

  // -- training and weights ------------------------------------------------------------------------

  void trained(const batch_report& report, double now);
  void training_failed(const std::string& why);
  void published(const weights_published& what);
  /// The policy has moved on, or could not: the scheduler asks again with the next version.
  void publishing_failed(std::uint32_t version, const std::string& why);
  void weights_are_live(const role_instance& who, std::uint32_t version, double now);
  void weights_failed(const role_instance& who, std::uint32_t version, const std::string& why);
  void checkpointed(std::uint32_t step, double now);

  /// @param figures the evaluation has some: it was not an error
  /// @returns false if it is not one under way
  bool evaluated(const role_instance& who, std::uint32_t version, bool figures);
  /// Of an earlier life of the run.
  void already_evaluated(const std::string& role, std::uint32_t version) { evaluations_.known(role, version); }

  /// What a role of that process says it works on.
  void holds(std::uint64_t node, const telemetry::holding& says, double now);
  /// Groups that the last report of the role they count as being with did not have.
  std::vector<telemetry::vanished_group> suspected() const { return vanished_.suspected(); }

  /// Time has passed: groups that take too long are generated again, rollouts that take no weights left out.
  void look_for_overdue(double now);

  /// The run is to stop now.
  /// @param in_haste a person wants it: evaluations are not waited for
  void stop(double now, bool in_haste = true);

  // -- looking -------------------------------------------------------------------------------------

  const schedule::scheduler& scheduler() const { return scheduler_; }
  bool stopping() const { return stopping_; }
  const evaluation_plan& evaluations() const { return evaluations_; }
  /// The schedule is over: what is waited for are evaluations.
  bool ending() const { return finishing_.has_value(); }

  /// Who has a generated group now: the stages at work on it, the roles that have no copy alive to work on it, the policy
  /// that fetches it. Empty: nobody, and its place in the batch is never filled.
  std::vector<std::string> working_on(std::uint64_t group) const;

  /// The row of a live group; nullptr once it is trained or dropped.
  const prompt_row* row_of(std::uint64_t group) const;

  /// Which of several roles answered a live group; "" where there is only one.
  std::string answered_by(std::uint64_t group) const;

  /// Summaries that stages attached to a live group.
  std::map<std::string, double> summary_of(std::uint64_t group) const;

  std::int64_t dropped_groups() const { return dropped_; }

private:
  struct group_record {
    std::uint32_t attempt = 0;
    std::optional<prompt_row> row;
    std::optional<role_instance> rollout;        ///< who generates it, until it is generated
    bool oversampled = true;                     ///< it begins more answers than it keeps, if the schedule says so
    std::uint64_t asked = 0;                     ///< of that rollout, with it; 0: it has not been asked yet
    bool fetching = false;
    bool fetched = false;
    std::set<std::string> done;                  ///< roles whose columns are there
    std::map<std::string, role_instance> at;     ///< stages that work on it, and which copy
    std::map<std::string, std::uint64_t> asked_of; ///< of each of those copies, with it
    std::set<std::string> waiting;               ///< stages that have no copy alive
    std::vector<transport::ticket> columns;
    transport::ticket partial; ///< what it has of an attempt that was interrupted; id 0: nothing
    std::map<std::string, double> summary;
  };

  struct live_role {
    role_instance who;
    std::uint64_t node = 0;
    schedule::worker_id worker = 0; ///< rollouts
    std::int64_t busy = 0;          ///< stages: groups at work
    std::uint64_t asked = 0;        ///< groups that it was asked for
  };

  void train(train_batch batch);
  void end_step_without_groups();
  void publish_for_evaluation(std::uint32_t version);
  /// Where no rollout takes weights: what stands in its place hears which version is trained, once there is a policy.
  void tell_version();
  void advance_evaluations();
  void act(const schedule::event& event, double now);
  void carry_out(const schedule::action& action, double now);
  void start_generation(std::uint64_t group);
  void advance(std::uint64_t group);
  bool ready_for(const group_record& record, const std::vector<std::string>& from) const;
  void hand_to_stage(std::uint64_t group, const std::string& role);
  void release_columns(group_record& record);
  void restart_record(group_record& record, std::uint32_t attempt);
  group_record* current(std::uint64_t group, std::uint32_t attempt);
  live_role* rollout_of(schedule::worker_id worker);
  const live_role* find(const role_instance& who) const;
  schedule::worker_id worker_number(const role_instance& who);

  group_graph graph_;
  schedule::scheduler scheduler_;
  std::uint64_t run_seed_;
  bool in_flight_update_;
  coordination_effects& effects_;

  std::map<std::uint64_t, group_record> groups_;
  std::map<std::string, live_role> rollouts_; ///< by instance name
  std::map<std::string, live_role> stages_;
  std::map<std::string, schedule::worker_id> worker_numbers_;
  std::map<std::string, int> weight_refusals_; ///< in a row, by instance name
  std::optional<std::uint64_t> policy_node_;
  std::map<std::uint64_t, std::string> keepers_; ///< by node: "critic", ...
  std::set<std::uint64_t> asked_prompts_;
  std::optional<std::uint32_t> published_version_;
  transport::ticket published_;
  std::optional<std::uint32_t> publishing_;
  std::set<schedule::worker_id> weights_wanted_; ///< workers to be sent the version being published
  std::optional<train_batch> training_;
  std::optional<train_batch> open_step_; ///< parts of it are trained: the next one, if it had no groups
  std::deque<schedule::event> events_; ///< to be told to the scheduler; the first is being carried out
  bool acting_ = false;
  bool stopping_ = false;
  std::int64_t dropped_ = 0;
  telemetry::vanished_groups vanished_;
  evaluation_plan evaluations_;
  std::optional<std::uint32_t> publishing_for_evaluation_; ///< asked of the policy, not answered
  std::optional<schedule::finish_reason> finishing_; ///< the schedule is over; evaluations are not
  bool finished_ = false;
  bool hasty_ = false; ///< a person wants the end
};

/// The seed of a group: a function of the run's seed and the group alone, whatever the attempt or the worker.
std::uint64_t group_seed(std::uint64_t run_seed, std::uint64_t group);

} // namespace millrace::actors
