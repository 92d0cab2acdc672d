#pragma once

#include "runtime/messages/abilities.hpp"
#include "runtime/roles/group_seed.hpp"
#include "runtime/schedule/scheduler.hpp"
#include "runtime/supervision/evaluation_plan.hpp"
#include "runtime/telemetry/in_flight.hpp"
#include "runtime/words/group_attempt.hpp"

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace millrace::actors {

/// One role that adds columns, as the graph has it.
struct adder_node {
  std::string role;
  std::vector<std::string> from; ///< roles whose columns it waits for
};

/// The graph a group flows through: whoever generates, whoever adds columns in any order, then the leader of those that
/// train.
struct group_graph {
  std::map<std::string, std::int32_t> generators; ///< answers a prompt, by role
  std::size_t instances = 1;                      ///< of all generators together
  std::vector<adder_node> adders;
  std::string leader; ///< of the roles that train: it publishes the weights
  std::vector<std::string> leader_from;
  std::map<std::string, std::string> environments = {}; ///< who plays the episodes, by the role that generates them
  bool publishes = true;        ///< a generator wants new weights; else versions are told without them
  bool columns_stay = false;    ///< with their makers, until a group is trained: a rank that keeps it may be lost
  bool flips_in_flight = false; ///< new weights flip between two tokens of running answers
  std::vector<supervision::evaluation_node> evaluations = {}; ///< beside the graph
};

/// Why a group was not taken.
struct refused_group {
  std::string why;
  bool retryable = false; ///< the way there is at fault, not the prompt
};

/// How much a generator takes, and on whose hardware.
struct generator_place {
  std::uint32_t capacity_groups = 1;
  bool lent = false; ///< it runs on the leader's host
};

/// What the coordinator does to the world: its actor sends messages, its tests write them down.
class router_effects {
public:
  virtual ~router_effects() = default;
  virtual void take_prompt(std::uint64_t index) = 0;
  virtual void generate(const role_instance& generator, const generate_group& what) = 0;
  virtual void cancel(const role_instance& generator, const cancel_group& what) = 0;
  virtual void interrupt(const role_instance& generator, const interrupt_group& what) = 0;
  virtual void end_episodes(const role_instance& environment, const millrace::end_episodes& what) = 0;
  virtual void process(const role_instance& adder, const process_group& what) = 0;
  virtual void fetch(const fetch_group& what) = 0;
  virtual void forget(std::uint64_t group) = 0;
  virtual void release(const std::vector<ticket>& columns) = 0;
  virtual void train(const train_batch& what) = 0;
  virtual void interrupt_training(std::uint64_t step) = 0;
  virtual void publish(std::uint32_t version) = 0;
  virtual void send_weights(const role_instance& generator, const new_weights& what) = 0;
  /// Before a version is published: its weights live until they are held no more.
  virtual void hold_weights(const hold_weights& what) = 0;
  virtual void let_go(const weights_taken& what) = 0;
  /// Has it take the weights, then ask the held-out prompts of that version.
  virtual void evaluate(const role_instance& evaluator, const new_weights& what) = 0;
  virtual void checkpoint(std::uint32_t step, const std::string& scheduler_state) = 0;
  /// A step, or a part of one, was trained on these groups.
  virtual void batch_done(const batch_report& report, const std::vector<std::uint64_t>& groups) = 0;
  /// How many groups stand where, after everything an event caused.
  virtual void observe(const schedule::progress& depths) = 0;
  virtual void complain(const std::string& line) = 0; ///< a warning for people
  virtual void finish(const schedule::finish& how) = 0;
  /// The run cannot go on; one line why.
  virtual void fail(const std::string& why) = 0;
};

/// What the coordinator knows, without an actor. It tells the scheduler what happens, carries the scheduler's actions
/// out through `router_effects`, and walks each group through the graph.
///
/// Invariants
/// - CO-1: a role gets a group when all roles that it reads from have added their columns. One copy of the role works
///   on the group at a time. If that copy dies, another copy gets the group.
/// - CO-2: the scheduler is told `group_ready` when the group's columns lie in the process of every role that trains.
///   From then on only the death of such a process can lose the group. The bundles of the other processes are released;
///   where ranks share out groups (`columns_stay`), when the group is trained or dropped.
/// - CO-3: when a process dies, the scheduler hears at once which groups died with it: groups that were being
///   generated, and groups with columns that were not fetched yet.
/// - CO-4: answers of an earlier attempt or an earlier life of a role change nothing.
/// - CO-5: evaluations change nothing that the scheduler sees. The run's end waits for them, unless a person stopped
///   the run.
/// - CO-6: the begun answers of an interrupted group stay in the process that wrote them. They are released when the
///   next attempt has a copy, or when the group is void. If that process dies first, the group begins anew, and the
///   attempt counts as lost. A checkpoint holds no begun answers, so a resumed run begins these groups anew.
/// - CO-7: the router records which role works on a group. If that role reports twice in a row that it does not have
///   the group (`telemetry::vanished_groups`), the router names the group in a warning and counts the attempt as lost.
/// - CO-8: a group's episodes stay with one environment until the group is generated or void, also while it is
///   interrupted; then they are ended. If the environment's process dies first, the group begins anew.
class group_router {
public:
  group_router(group_graph graph, schedule::scheduler scheduler, std::uint64_t run_seed, router_effects& effects);

  // -- roles ---------------------------------------------------------------------------------------

  void generator_up(const role_instance& who, node_id node, generator_place place, double now);
  void adder_up(const role_instance& who, std::uint64_t node);
  void leader_up(node_id node);
  /// @param place `since` does not matter
  void environment_up(const role_instance& who, node_id node, const episode_place& place, double now);

  void evaluation_up(const role_instance& who, std::uint64_t node);

  /// A process died: every role in it, and every bundle it owned.
  void node_gone(std::uint64_t node, double now);

  // -- groups --------------------------------------------------------------------------------------

  void prompt_arrived(const prompt_row& row, double now);
  void generation_refused(group_attempt what, const refused_group& how, double now);
  /// The rollout has its own copy of what the group goes on with.
  void generation_accepted(std::uint64_t group, std::uint32_t attempt);
  void generated(const group_generated& what, double now);
  void interrupted(const group_interrupted& what, double now);
  void generation_lost(const millrace::generation_lost& what, double now);
  void processed(const role_instance& adder, const group_columns& what, double now);
  void processing_failed(const role_instance& adder, group_attempt what, const std::string& why, double now);
  void fetched(const group_fetched& what, double now);
  void fetch_failed(group_attempt what, const std::string& why, double now);

  // -- training and weights ------------------------------------------------------------------------

  void trained(const batch_report& report, double now);
  void training_failed(const std::string& why);
  void published(const weights_published& what);
  /// The policy did not publish this version. Where it has trained the next step meanwhile, the scheduler asks for that
  /// version. Else rollouts would wait for ever, so the run ends.
  void publishing_failed(std::uint32_t version, const std::string& why);
  void weights_are_live(const role_instance& who, std::uint32_t version, double now);
  void weights_failed(const role_instance& who, std::uint32_t version, const std::string& why);
  void checkpointed(std::uint32_t step, double now);

  /// The evaluation has ended and gave figures.
  void evaluated(const role_instance& who, version_id version);
  /// The evaluation has ended without figures. @returns false if no such evaluation is under way
  bool evaluation_lost(const role_instance& who, version_id version);

  /// The version was evaluated before the resume.
  void already_evaluated(const std::string& role, std::uint32_t version) { evaluations_.known(role, version); }

  /// A role of that process reports the groups that it works on.
  void holds(std::uint64_t node, const telemetry::in_flight_report& says, double now);

  /// Groups that are missing in the last report of the role that works on them.
  std::vector<telemetry::vanished_group> suspected() const { return vanished_.suspected(); }

  /// Looks at the deadlines. A group that took too long is generated again. A rollout that did not take its weights in
  /// time is left out.
  void look_for_overdue(double now);

  /// The last checkpoint is old: the end of the step under way brings one.
  void want_checkpoint(double now);

  /// Whether the end waits for evaluations (`none`) or not (`some`: a person wants the end).
  enum class haste { none, some };

  /// The run is to stop now.
  void stop(double now, haste how);

  // -- looking -------------------------------------------------------------------------------------

  const schedule::scheduler& scheduler() const { return scheduler_; }

  bool stopping() const { return stopping_; }

  const supervision::evaluation_plan& evaluations() const { return evaluations_; }

  /// The schedule is over, and only evaluations are still awaited.
  bool ending() const { return finishing_.has_value(); }

  /// The roles that a generated group waits for: roles that work on it, roles without a living copy, or the policy that
  /// fetches it. An empty list is a fault: the batch would wait for ever.
  std::vector<std::string> working_on(std::uint64_t group) const;

  /// The row of a live group; nullptr once it is trained or dropped.
  const prompt_row* row_of(std::uint64_t group) const;

  /// Which of several roles answered a live group; "" where there is only one.
  std::string answered_by(std::uint64_t group) const;

  /// Summaries that roles attached to a live group.
  std::map<std::string, summed> summary_of(std::uint64_t group) const;

  std::int64_t dropped_groups() const { return dropped_; }

  /// The line of the group that was dropped last for a fault, "" if none was.
  const std::string& last_drop() const { return last_drop_; }

private:
  struct group_record {
    std::uint32_t attempt = 0;
    std::optional<prompt_row> row;
    std::optional<role_instance> generator; ///< who generates it, until it is generated
    bool oversampled = true;                ///< it begins more answers than it keeps, if the schedule says so
    std::uint64_t asked = 0; ///< number of this request among all requests to that rollout; 0: not sent yet
    bool fetching = false;
    bool fetched = false;
    std::set<std::string> done;                    ///< roles whose columns are there
    std::map<std::string, role_instance> at;       ///< roles that work on it, and which copy
    std::map<std::string, std::uint64_t> asked_of; ///< number of the request, by role
    std::set<std::string> waiting;                 ///< roles that have no living copy
    std::vector<ticket> columns;
    ticket partial; ///< begun answers of an attempt that was interrupted; id 0: none
    std::map<std::string, summed> summary;
    std::optional<role_instance> environment; ///< who plays its episodes, until it is generated
    std::uint32_t episodes_since = 0;         ///< `episode_place::since`
    bool waits_for_environment = false;       ///< no copy of it is up

    bool has_columns_of(node_id node) const;
    /// Those of the row and those that roles have added.
    std::vector<ticket> all_columns() const;
  };

  struct live_role {
    role_instance who;
    std::uint64_t node = 0;
    schedule::worker_id worker = 0;         ///< rollouts
    std::int64_t busy = 0;                  ///< of a role that adds columns: groups at work
    std::uint64_t asked = 0;                ///< requests sent to this role so far
    std::optional<version_id> samples_from; ///< of a generator: the newest version that it said so of
    episode_place place = {};               ///< of an environment
  };

  void train(train_batch batch);
  void end_step_without_groups();
  void publish_for_evaluation(std::uint32_t version);
  void keep_for_rollouts(std::uint32_t besides);
  void let_go_of_rollouts_version();
  /// In a run without rollouts, tells each demonstrations role which version is being trained. The role stamps its
  /// tokens with that version.
  void tell_version();
  void advance_evaluations();
  void act(const schedule::event& event, double now);
  void carry_out(const schedule::admit& a, double now);
  void carry_out(const schedule::cancel& c, double now);
  void carry_out(const schedule::interrupt& i, double now);
  void carry_out(const schedule::cut& b, double now);
  void carry_out(const schedule::publish& p, double now);
  void carry_out(const schedule::drop& d, double now);
  void sum_up_drops(); ///< those of the step that were not said one by one
  void carry_out(const schedule::checkpoint& k, double now);
  void carry_out(const schedule::finish& f, double now);
  void send_weights(schedule::worker_id worker, version_id version, const weight_shares& parameters);
  /// Once all generators of the run have the published version, its bytes are needed no more.
  void let_go_of_taken();
  std::vector<schedule::worker_id> remove_generators(node_id node);
  /// Those of a process that is gone. @returns their names
  static std::set<std::string> remove(std::map<std::string, live_role>& roles, node_id node);
  /// The living copy of a role that has the fewest groups; nullptr if there is none.
  static live_role* least_busy(std::map<std::string, live_role>& roles, const std::string& role);
  bool find_environment(group_record& record, const std::string& role); ///< false: none is up
  void end_episodes(std::uint64_t group, group_record& record);
  void start_generation(std::uint64_t group);
  void advance(std::uint64_t group);
  bool ready_for(const group_record& record, const std::vector<std::string>& from) const;
  void hand_to_adder(std::uint64_t group, const std::string& role);
  void release_columns(group_record& record);
  void restart_record(group_id group, group_record& record, std::uint32_t attempt);
  void forget_group_record(group_id group);
  group_record* current(std::uint64_t group, std::uint32_t attempt);
  live_role* generator_of(schedule::worker_id worker);
  const live_role* find(const role_instance& who) const;
  schedule::worker_id worker_number(const role_instance& who);

  group_graph graph_;
  schedule::scheduler scheduler_;
  std::uint64_t run_seed_;
  router_effects& effects_;

  std::map<std::uint64_t, group_record> groups_;
  std::map<std::string, live_role> generators_; ///< by instance name
  std::map<std::string, live_role> adders_;
  std::map<std::string, live_role> environments_;
  std::map<schedule::worker_id, std::string> by_worker_; ///< names of live generators
  std::map<std::string, schedule::worker_id> worker_numbers_;
  std::map<std::string, int> weight_refusals_; ///< in a row, by instance name
  std::optional<std::uint64_t> leader_node_;
  std::set<std::uint64_t> asked_prompts_;
  std::optional<std::uint32_t> published_version_;
  weight_shares published_;
  std::optional<std::uint32_t> publishing_;
  std::set<schedule::worker_id> weights_wanted_;   ///< workers to be sent the version being published
  std::optional<std::uint32_t> kept_for_rollouts_; ///< their version, while the policy has published a newer one
  std::optional<train_batch> training_;
  std::optional<train_batch> open_step_; ///< some of its parts are trained; this request ends it if no groups are left
  std::deque<schedule::event> events_;   ///< to be told to the scheduler; the first is being carried out
  bool acting_ = false;
  bool stopping_ = false;
  std::int64_t dropped_ = 0;
  std::map<schedule::drop_reason, std::int64_t> dropped_since_step_;
  std::string last_drop_;
  telemetry::vanished_groups vanished_;
  supervision::evaluation_plan evaluations_;
  std::optional<std::uint32_t> publishing_for_evaluation_; ///< asked of the policy, not answered
  std::optional<schedule::finish> finishing_;              ///< the schedule is over; evaluations may still run
  bool finished_ = false;
  bool hasty_ = false; ///< a person wants the end
};

} // namespace millrace::actors
