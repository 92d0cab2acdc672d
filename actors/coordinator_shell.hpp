#pragma once

#include "actors/continuation.hpp"
#include "actors/coordinator.hpp"
#include "actors/job_thread.hpp"
#include "actors/node_agent.hpp"
#include "actors/run_record.hpp"
#include "actors/step_figures.hpp"
#include "actors/supervision.hpp"
#include "actors/training_round.hpp"
#include "runtime/pipeline/pipeline.hpp"
#include "runtime/telemetry/checkpoint_store.hpp"
#include "runtime/transport/data_plane.hpp"

#include <caf/typed_event_based_actor.hpp>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace millrace::actors {

inline constexpr std::uint64_t own_node = 1; ///< data-plane node of the run's own process

/// How a run ended.
struct run_outcome {
  bool ok = false;
  std::string line; ///< why not, for people; "" if ok
};

/// What the coordinator is started with.
struct coordinator_config {
  std::shared_ptr<const pipeline::pipeline> pipeline;
  std::string resolved;                     ///< the pipeline as text, for the run's other processes
  std::shared_ptr<transport::data_plane> data; ///< of the run's own process
  std::vector<std::uint8_t> run_key;
  std::string bind;                         ///< data plane address for processes on other hosts; "" = loopback
  std::shared_ptr<run_record> record;
  std::shared_ptr<telemetry::checkpoint_store> checkpoints;
  std::shared_ptr<schedule::scheduler> scheduler; ///< new, or restored
  std::string checkpoint;                   ///< folder that the policy goes on from; "" = from its model
  step_figures within_step;                 ///< of the parts trained of the step that the checkpoint lies in
  std::optional<source_position> position;  ///< where the data goes on

  /// Starts the process of a placed role on this host, which joins with `token`. @returns its process id
  /// @throws std::exception
  std::function<std::int64_t(const placed_process&, const std::string& token)> start_process;
  std::function<void(std::int64_t pid)> kill_process;
  std::map<std::string, node_actor> nodes; ///< by the name that the placement gives them
  /// Connects to a node that has been lost. Blocks for seconds. @throws std::exception when it is not there
  std::function<node_actor(const std::string& host)> find_node;

  /// Called once, on the coordinator's thread, when everything is written.
  std::function<void(run_outcome)> on_end;
};

using coordinator_shell = coordinator_actor::extend<caf::reacts_to<continuation>>;

/// The shell around `coordination`: its effects are messages with deadlines, its world the processes of the run.
class coordinator_state : public coordination_effects {
public:
  static constexpr const char* name = "coordinator";
  using pointer = coordinator_shell::stateful_pointer<coordinator_state>;

  void prepare(pointer self, coordinator_config config);

  /// Starts source, embedded roles and placed processes.
  void begin(const begin_run& how);

  caf::result<welcome> join(const join_run& ask);
  void process_is_up(const process_up& up); ///< CR-3: ignored unless it joined
  void rollout_is_ready(const rollout_ready& ready);
  void stage_is_ready(const stage_ready& ready);
  void policy_is_ready(const policy_ready& ready);
  void critic_is_ready(const critic_ready& ready);
  void reference_is_ready(const reference_ready& ready);
  void evaluation_is_ready(const evaluation_ready& ready);
  void evaluation_goes_on(const evaluation_progress& progress);
  void role_has_failed(const role_failed& failed);
  void process_has_ended(const process_ended& ended);
  void is_down(const caf::actor_addr& agent);
  void group_is_generated(const group_generated& generated);
  void group_is_interrupted(const group_interrupted& interrupted);
  void take_report(const process_report& report);
  void checkpoint_is_stored(const checkpoint_stored& stored);
  void stop(const stop_run& why);
  void tick();

  // -- coordination_effects ------------------------------------------------------------------------

  void take_prompt(std::uint64_t index) override;
  void generate(const role_instance& rollout, const generate_group& what) override;
  void cancel(const role_instance& rollout, const cancel_group& what) override;
  void interrupt(const role_instance& rollout, const interrupt_group& what) override;
  void process(const role_instance& stage, const process_group& what) override;
  void fetch(const fetch_group& what) override;
  void forget(std::uint64_t group) override;
  void release(const std::vector<transport::ticket>& columns) override;
  void train(const train_batch& what) override;
  void interrupt_training(std::uint64_t step) override;
  void publish(std::uint32_t version) override;
  void send_weights(const role_instance& rollout, const new_weights& what) override;
  void hold_weights(const actors::hold_weights& what) override;
  void evaluate(const role_instance& evaluation, const evaluate_version& what) override;
  void checkpoint(std::uint32_t step, const std::string& scheduler_state) override;
  void batch_done(const batch_report& report, const std::vector<std::uint64_t>& groups) override;
  void observe(const schedule::progress& depths) override;
  void complain(const std::string& line) override;
  void finish(schedule::finish_reason reason) override;
  void fail(const std::string& why) override;

private:
  struct live_process {
    std::uint64_t node = 0;
    std::int64_t pid = 0;
    std::string host;
    process_agent_actor agent;
    std::vector<std::uint8_t> address;
    std::vector<role_instance> roles;
    std::size_t introductions = 0; ///< not answered yet
    bool started = false;
    double clock_offset_s = 0;
    std::vector<telemetry::wait_record> waits;
  };

  /// A group that is being taken by everyone who needs it.
  struct open_fetch {
    int missing = 0;   ///< answers
    std::string error; ///< the first
    bool flat = false; ///< all its rewards are the same
  };

  /// What a checkpoint has of the coordinator.
  struct saved_run {
    std::string scheduler;
    std::string within_step; ///< "" between steps
  };

  /// A node that is gone, looked for until `request_deadline_s` has passed.
  struct lost_node {
    double since_s = 0;
    std::vector<role_instance> roles; ///< that ran there
  };

  void take_in(const process_up& up);
  void start_placed(const placed_process& placed);
  void start_on_host(const placed_process& placed, const std::string& token);
  void started(const placed_process& placed, std::int64_t pid);
  void kill(const std::string& host, std::int64_t pid);
  void introduce(live_process& fresh);
  void introduced(std::uint64_t node);
  void remove_process(std::uint64_t node, const std::string& how);
  void start_again(const role_instance& died, const std::string& host, const std::string& how);
  void node_is_down(const std::string& host);
  void look_for_node(const std::string& host);
  void node_not_found(const std::string& host, const std::string& why);
  void node_is_back(const std::string& host, const node_actor& node);
  void one_fetched(const fetch_group& what, const std::string& error);
  void step_done(const batch_report& report);
  void train_critic(const train_batch& what);
  void step_answered(std::optional<training_round::outcome> end);
  void have_followed(const weights_published& what);
  void stop_if_told();
  void version_is_evaluated(const role_instance& who, const version_evaluated& result);
  void add_position(const std::shared_ptr<telemetry::checkpoint_attempt>& attempt, std::uint32_t step,
                    const saved_run& state, std::uint64_t oldest);
  void end(run_outcome outcome);
  void conclude(run_outcome outcome); ///< the files, the processes, this actor
  void progressed();
  void report_stall();
  std::vector<telemetry::wait_record> all_waits() const;
  std::vector<telemetry::role_status> role_states() const;
  std::chrono::milliseconds deadline(double seconds) const;
  double now() const;

  pointer self_ = nullptr;
  coordinator_config config_;
  std::unique_ptr<coordination> coordination_;
  std::unique_ptr<job_thread> storage_;
  std::unique_ptr<job_thread> connecting_;
  source_actor source_;
  policy_actor policy_;
  critic_actor critic_; ///< null: the pipeline has none, or it is not up yet
  training_round round_;
  step_figures step_; ///< of the step under way
  std::map<std::string, reference_actor> references_; ///< those that follow the policy, by instance name
  std::optional<weights_published> newest_;           ///< weights: for a reference that comes up after them
  std::map<std::string, std::uint32_t> weights_sent_; ///< by rollout: the version it was sent and has not answered
  std::map<std::string, rollout_actor> rollouts_; ///< by instance name
  std::map<std::string, stage_actor> stages_;
  std::map<std::string, evaluation_actor> evaluations_; ///< by instance name
  std::map<std::uint64_t, live_process> processes_; ///< by node
  std::map<std::string, placed_process> awaited_;   ///< by token: started, not joined
  std::map<std::uint64_t, role_instance> joined_;   ///< by node: let in, not up
  std::map<std::string, std::int64_t> pids_;        ///< of started processes, by instance name
  std::map<std::string, placed_process> lives_;     ///< the newest life of each placed process, by instance name
  std::map<std::string, lost_node> lost_nodes_;     ///< by the name that the placement gives them
  std::map<std::pair<std::uint64_t, std::uint32_t>, open_fetch> fetches_; ///< by group and attempt
  restart_rule restarts_;
  std::uint16_t outer_port_ = 0;
  std::uint64_t next_node_ = 2; ///< 1 is the run's own process
  schedule::progress observed_;        ///< what the trace's counters say now
  std::uint64_t refused_in_a_row_ = 0; ///< prompts, since the last that a rollout took
  std::int64_t skipped_in_a_row_ = 0;
  bool ended_ = false;
  std::size_t last_reports_ = 0; ///< asked for at the end, not answered
  double progress_s_ = 0;
  double stall_told_s_ = 0;
};

/// Spawned with a config; see coordinator.hpp for protocol and invariants.
coordinator_shell::behavior_type make_coordinator(coordinator_state::pointer self, coordinator_config config);

/// The graph a group flows through, out of the pipeline.
group_graph graph_of(const pipeline::pipeline& p);


} // namespace millrace::actors
