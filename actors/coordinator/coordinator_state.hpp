#pragma once

#include "actors/coordinator/coordinator.hpp"
#include "actors/coordinator/group_router.hpp"
#include "runtime/roles/job_thread.hpp"
#include "runtime/supervision/prompt_results.hpp"
#include "runtime/supervision/training_round.hpp"
#include "runtime/supervision/unscored_answers.hpp"

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace millrace::actors {

/// The actor around `group_router`: its effects are messages with deadlines, its world the processes of the run.
///
/// It knows roles by what they can do. A role that is up has one line in `roles_`, with a handle for each ability; the
/// role that leads the others in training is one of them.
class coordinator_state : public router_effects {
public:
  coordinator_state(actor& self, coordinator_config config);

  /// Starts source, embedded roles and placed processes.
  void begin(const begin_run& how);

  welcome join(const join_run& ask);        ///< CR-3: throws unless the process is expected
  void process_is_up(const process_up& up); ///< CR-3: ignored unless it joined
  void role_is_ready(const role_ready& ready);
  void evaluation_goes_on(const evaluation_progress& progress);
  void pass_on(const rank_word& word);
  void ranks_are_lost(const ranks_lost& what);
  joined_as_node node_joins(const join_as_node& ask);
  void role_has_failed(const role_failed& failed);
  void process_has_failed(const process_failed& failed);
  void process_has_ended(const process_ended& ended);
  void group_is_generated(const group_generated& generated);
  void group_is_interrupted(const group_interrupted& interrupted);
  void generation_is_lost(const generation_lost& lost);
  void count_loss(const role_instance& generator, const std::string& why);
  void take_report(const process_report& report);
  void checkpoint_is_stored(const checkpoint_stored& stored);
  void stop(const stop_run& why);

  // -- router_effects ------------------------------------------------------------------------------

  void take_prompt(std::uint64_t index) override;
  void generate(const role_instance& generator, const generate_group& what) override;
  void cancel(const role_instance& generator, const cancel_group& what) override;
  void interrupt(const role_instance& generator, const interrupt_group& what) override;
  void end_episodes(const role_instance& environment, const millrace::end_episodes& what) override;
  void process(const role_instance& adder, const process_group& what) override;
  void fetch(const fetch_group& what) override;
  void forget(std::uint64_t group) override;
  void release(const std::vector<ticket>& columns) override;
  void train(const train_batch& what) override;
  void interrupt_training(std::uint64_t step) override;
  void publish(std::uint32_t version) override;
  void send_weights(const role_instance& generator, const new_weights& what) override;
  void hold_weights(const millrace::hold_weights& what) override;
  void let_go(const weights_taken& what) override;
  void evaluate(const role_instance& evaluator, const new_weights& what) override;
  void checkpoint(std::uint32_t step, const std::string& scheduler_state) override;
  void batch_done(const batch_report& report, const std::vector<std::uint64_t>& groups) override;
  void observe(const schedule::progress& depths) override;
  void complain(const std::string& line) override;
  void finish(const schedule::finish& how) override;
  void fail(const std::string& why) override;

private:
  struct live_process {
    node_id node = 0;
    std::int64_t pid = 0;
    std::string host;
    handle<hosts_roles> agent;
    std::vector<std::uint8_t> address;
    std::vector<role_instance> roles;
    std::multiset<node_id> introductions; ///< who has been asked and has not answered yet
    bool started = false;
    double clock_offset_s = 0;
    std::vector<wait_record> waits;
    std::map<node_id, peer_lane> lanes; ///< from which processes its tensors come, and how
  };

  /// A group that is being taken by everyone who needs it.
  struct open_fetch {
    std::size_t missing = 0; ///< answers
    std::string error;       ///< the first
    bool flat = false;       ///< all its rewards are the same
    std::string complaint;   ///< it cannot be trained, and why
  };

  /// A group that one of the leader's ranks keeps, until it is trained or dropped.
  struct kept_group {
    fetch_group what;
    std::uint32_t rank = 0;
    std::int64_t tokens = 0; ///< of its answers
  };

  /// A step that is being trained.
  struct open_step {
    supervision::training_round round;
    std::size_t returns_wanted = 0; ///< by trainers that have not answered
  };

  /// What a checkpoint has of the coordinator.
  struct saved_run {
    std::string scheduler;
    std::string within_step; ///< "" between steps
  };

  /// A checkpoint that is being written.
  struct open_checkpoint {
    std::uint32_t step = 0;
    std::shared_ptr<run_files::checkpoint_attempt> attempt;
    saved_run state;
    std::uint64_t oldest = 0; ///< prompt that a live group answers
    std::size_t missing = 0;  ///< roles that have not written
  };

  /// A node that is gone, looked for until `request_deadline_s` has passed.
  struct lost_node {
    double since_s = 0;
    std::vector<role_instance> roles; ///< that ran there
  };

  /// The ranks of one role.
  struct rank_group {
    std::uint32_t generation = 0; ///< of the newest group
    int losses = 0;               ///< groups that failed in a row, although every rank was up
    int fetching = 0;             ///< groups of a rank that is gone, which the first one fetches
  };

  using visit_role = std::function<void(const role_ready&)>;

  // -- processes.cpp
  void take_in(const process_up& up);
  void start_placed(const supervision::placed_process& placed);
  void start_on_host(const supervision::placed_process& placed, const std::string& token);
  void started(const supervision::placed_process& placed, std::int64_t pid);
  void kill(const std::string& host, std::int64_t pid);
  void kill_who_is_not_up();
  void introduce(live_process& fresh);
  void introduced(node_id node, node_id by);
  bool has_joined(const role_instance& role) const; ///< let in, not up
  void start_if_introduced(live_process& fresh);
  void look_whether_up(const supervision::placed_process& placed, const std::string& token);
  void agent_is_down(node_id node);
  void remove_process(node_id node, const std::string& how);
  supervision::placed_process next_life(const role_instance& last, const std::string& host) const;
  void start_again(const role_instance& died, const std::string& host, const std::string& how);
  void bring_up_to_date(const role_ready& ready);
  void take_role_in(const role_ready& ready);
  void watch_node(const std::string& host);
  void node_is_down(const std::string& host);
  void look_for_node(const std::string& host);
  bool may_move(const lost_node& lost) const; ///< all that ran there
  void move(const role_instance& role);
  void move_to(const role_instance& role, const std::string& host);
  void take_place_of(const std::string& lost, const std::string& host);
  void node_not_found(const std::string& host, const std::string& why);
  void node_is_back(const std::string& host, const handle<starts_processes>& node);

  // -- ranks.cpp
  void each_rank(const std::string& role, const visit_role& visit) const;
  void form_ranks_if_all_up(const std::string& role);
  void part_ranks_of(const role_ready& gone, const std::string& how);
  void ranks_have_worked();
  void forget_in_ranks(group_id group);
  const role_ready* rank_of_leader(std::uint32_t index) const;
  std::uint32_t least_laden_rank() const;
  void fetch_kept_groups_of(const role_instance& gone, const std::string& how);
  void after_news_of_deaths(const std::function<void()>& act);

  // -- effects.cpp
  episode_place place_of(const role_ready& environment) const; ///< `since` does not matter
  void processed(const role_instance& adder, const group_columns& answer);
  void count_scores(const std::string& role, const group_columns& answer);
  void generation_answered(const role_instance& generator, const group_attempt& what,
                           const handle<plays_episodes>& environment, const group_accepted& answer);
  void generation_refused(const role_instance& generator, const group_attempt& what, const refusal& why);
  void ask_to_fetch(const role_ready& role, const fetch_group& what);
  void fetched_by_trainer(const group_attempt& what, const group_fetched& fetched, bool leads);
  void keep_trajectory(const fetch_group& what);
  void fetched_by_one(const group_attempt& what, const std::string& error);
  void tell_releases();

  // -- training.cpp
  void train_follower(const role_ready& trainer, const train_batch& what);
  void leader_answered(const train_batch& what, const batch_report& report);
  void step_answered(std::optional<supervision::training_round::outcome> end);
  void take_weights_after(const weights_published& what);
  void ask_evaluator(const role_instance& evaluator, std::uint32_t version);
  void evaluation_is_lost(const role_instance& evaluator, std::uint32_t version, const std::string& why);
  void step_done(const batch_report& report);
  void want_checkpoint_in_time();
  void stop_if_told();
  void version_is_evaluated(const role_instance& who, const version_evaluated& result);

  // -- checkpoints.cpp
  void find_checkpoints(const role_ready& writer, const std::string& host);
  void add_position(const std::shared_ptr<open_checkpoint>& open);
  void store(const open_checkpoint& open, const source_position& position);
  void lose(const role_instance& who, const std::string& how, const std::string& what);
  void end(run_outcome outcome);
  void take_down(run_outcome outcome);
  void conclude_taken_down();
  void conclude(run_outcome outcome); ///< the files, the processes, this actor

  // -- waits.cpp
  void tick();
  void progressed();
  void report_stall();
  std::vector<wait_record> all_waits() const;
  wait_record explained(wait_record wait) const;
  std::vector<telemetry::role_status> role_states() const;
  std::string name_of(const live_process& process) const;
  void take_lanes(live_process& process, const std::vector<peer_lane>& lanes);
  std::vector<telemetry::lane_status> used_lanes() const;

  /// The role that leads those that train; nullptr until it is up.
  const role_ready* leader() const;

  bool is_leader(const role_ready& role) const { return bool(role.publisher); }

  /// The roles that are up and have an ability, by name. They follow the leader's publications if they take weights and
  /// neither generate nor evaluate: those two are sent versions by the schedule and by the evaluations' plan.
  void each_trainer(const visit_role& visit) const;
  void each_follower(const visit_role& visit) const;
  void each_state_keeper(const visit_role& visit) const;
  const role_ready* find(const role_instance& who) const;
  bool models_are_loaded() const;

  std::chrono::milliseconds request_deadline() const;
  std::chrono::milliseconds stall_deadline() const;
  std::chrono::milliseconds join_deadline() const; ///< from a process's start to its being up
  std::chrono::milliseconds work_deadline() const; ///< of what may wait for a step
  double now() const;

  actor& self_;
  coordinator_config config_;
  std::string leader_role_;
  std::unique_ptr<group_router> router_;
  std::unique_ptr<roles::job_thread> storage_;
  std::unique_ptr<roles::job_thread> connecting_;
  handle<gives_prompts> source_;
  std::map<std::string, role_ready> roles_; ///< those that are up, by instance name
  open_step open_step_;
  supervision::step_figures step_;                    ///< of the step under way
  std::optional<weights_published> newest_;           ///< weights: for a role that comes up after them
  std::map<std::string, std::uint32_t> weights_sent_; ///< by generator: the version it was sent and has not answered
  std::map<node_id, live_process> processes_;
  std::map<std::string, supervision::placed_process> awaited_; ///< by token: started, not joined
  std::map<node_id, role_instance> joined_;                    ///< by node: let in, not up
  std::map<std::string, std::int64_t> pids_;                   ///< of started processes, by instance name
  std::map<std::string, std::string> last_words_;              ///< of processes that could not go on, by instance name
  /// The newest life of each placed process, by instance name.
  std::map<std::string, supervision::placed_process> lives_;
  std::map<std::string, lost_node> lost_nodes_; ///< by the name that the placement gives them
  std::map<group_attempt, open_fetch> fetches_;
  std::map<node_id, release_bundles> to_release_; ///< by owner: told once the event is over
  std::map<std::string, rank_group> ranks_;       ///< by role
  bool ranks_share_groups_ = false;               ///< the leader's
  std::map<group_id, kept_group> kept_;           ///< where they do
  bool has_trained_ = false;                      ///< a part of a step, in this session
  supervision::restart_rule restarts_;
  supervision::unscored_answers unscored_;
  supervision::prompt_results prompt_results_; ///< of the step under way
  std::uint16_t outer_port_ = 0;
  node_id next_node_ = 2;              ///< 1 is the run's own process
  schedule::progress observed_;        ///< what the trace's counters say now
  std::uint64_t refused_in_a_row_ = 0; ///< prompts, since the last that a generator took
  std::uint64_t lost_in_a_row_ = 0;    ///< groups, since the last that was generated
  std::int64_t skipped_in_a_row_ = 0;
  bool stop_asked_ = false; ///< by a person or the system, not by `run.stop_when`
  bool ended_ = false;
  std::size_t last_reports_ = 0;           ///< asked for at the end, not answered
  std::optional<run_outcome> taking_down_; ///< how the run ends once its processes are gone
  double begun_s_ = 0;                     ///< this session
  double progress_s_ = 0;
  double stall_told_s_ = 0;
  std::optional<std::uint32_t> refused_checkpoint_; ///< step of the newest that was not written, and that was said
  std::uint32_t asked_checkpoint_ = 0;              ///< step of the newest that was asked for
  double checkpoint_asked_s_ = 0;                   ///< when the last checkpoint was asked for, or the first step was
};

/// The graph a group flows through, out of the pipeline.
group_graph graph_of(const pipeline::pipeline& p);

} // namespace millrace::actors
