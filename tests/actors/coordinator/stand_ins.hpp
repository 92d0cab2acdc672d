#pragma once

#include "actors/coordinator/coordinator.hpp"
#include "runtime/pipeline/schedule_config.hpp"
#include "tests/runtime/roles/fixture.hpp"
#include "tests/support/deterministic_system.hpp"
#include "tests/support/temporary_folder.hpp"

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace millrace::tests {

using words = std::vector<std::string>;

inline bool has(const words& all, const std::string& one) {
  return std::find(all.begin(), all.end(), one) != all.end();
}

inline bool has_id(const std::vector<std::uint64_t>& all, std::uint64_t one) {
  return std::find(all.begin(), all.end(), one) != all.end();
}

/// A stand-in for the agent of a process.
struct agent_stand_in {
  words told;
  std::vector<std::uint64_t> released;
  bool answers = true; ///< introductions; false: they are kept
  std::vector<actors::reply<peer_known>> kept;

  static actors::actor::setup setup(std::shared_ptr<agent_stand_in> heard) {
    return [heard = std::move(heard)](actors::actor& self, actors::inbox& in) {
      in.on<peer_up>([heard](const peer_up& peer, actors::reply<peer_known> done) {
        heard->told.push_back("peer_up " + std::to_string(peer.node));
        if (heard->answers)
          done(peer_known{peer.node});
        else
          heard->kept.push_back(std::move(done));
      });
      in.on<peer_gone>(
          [heard](const peer_gone& peer) { heard->told.push_back("peer_gone " + std::to_string(peer.node)); });
      in.on<release_bundles>([heard](const release_bundles& what) {
        heard->released.insert(heard->released.end(), what.ids.begin(), what.ids.end());
      });
      in.on<start_roles>([heard](const start_roles& start) {
        heard->told.push_back("start " + (start.roles.empty() ? "nothing" : start.roles.front().name()));
      });
      in.on<end_process>([heard, &self](const end_process&) {
        heard->told.push_back("end");
        self.quit();
      });
      in.on<report_now>([](const report_now&) { return process_report{}; });
    };
  }
};

/// Gives a prompt for every index; its columns are those of ticket `100 + index`.
inline actors::actor::setup source_stand_in() {
  return [](actors::actor&, actors::inbox& in) {
    in.on<take_prompt>([](const take_prompt& ask) {
      ticket columns;
      columns.owner = actors::own_node;
      columns.id = 100 + ask.index;
      return prompt_row{.index = ask.index, .columns = columns, .where = "rows:" + std::to_string(ask.index)};
    });
    in.on<find_position>([](const find_position& ask) { return source_position{.index = ask.index}; });
  };
}

/// A stand-in for a role that trains: what it was asked, in order. It answers training and checkpoints when the test
/// does.
struct trainer_stand_in {
  words asked;
  std::vector<std::uint64_t> fetched, forgotten; ///< groups
  bool finds_columns = true;                     ///< false: it refuses to fetch
  std::vector<std::pair<train_batch, actors::reply<batch_report>>> training;
  std::vector<actors::reply<checkpoint_written>> checkpoints;

  static actors::actor::setup setup(std::shared_ptr<trainer_stand_in> heard) {
    return [heard = std::move(heard)](actors::actor&, actors::inbox& in) {
      in.on<fetch_group>([heard](const fetch_group& ask, actors::reply<group_fetched> done) {
        heard->fetched.push_back(ask.group);
        if (heard->finds_columns)
          done(group_fetched{.group = ask.group, .attempt = ask.attempt});
        else
          done.refuse("the bundle was released");
      });
      in.on<forget_group>([heard](const forget_group& what) { heard->forgotten.push_back(what.group); });
      in.on<train_batch>([heard](const train_batch& ask, actors::reply<batch_report> done) {
        heard->asked.push_back("train " + std::to_string(ask.step));
        heard->training.emplace_back(ask, std::move(done));
      });
      in.on<interrupt_training>([heard](const interrupt_training& what) {
        heard->asked.push_back("interrupt " + std::to_string(what.step));
      });
      in.on<end_step>([heard](const end_step& how) {
        heard->asked.push_back((how.apply ? "apply step " : "undo step ") + std::to_string(how.step));
        return step_ended{how.step};
      });
      in.on<publish_weights>([heard](const publish_weights& ask) {
        heard->asked.push_back("publish " + std::to_string(ask.version));
        ticket parameters;
        parameters.id = 1000 + ask.version;
        return weights_published{.version = ask.version, .parameters = parameters, .copy_s = 0};
      });
      in.on<hold_weights>([](const hold_weights&) {});
      in.on<weights_taken>([](const weights_taken&) {});
      in.on<write_checkpoint>([heard](const write_checkpoint&, actors::reply<checkpoint_written> done) {
        heard->asked.push_back("checkpoint");
        heard->checkpoints.push_back(std::move(done));
      });
    };
  }

  /// The report of the step that is trained.
  batch_report report() const {
    const auto& batch = training.back().first;
    batch_report report;
    report.step = batch.step;
    report.part = batch.part;
    report.ends_step = batch.ends_step;
    report.trained_tokens = 10 * static_cast<std::int64_t>(batch.groups.size());
    return report;
  }
};

/// A stand-in for the seat of a rank: the generations that it was to form, and how many were parted.
struct rank_stand_in {
  std::vector<std::uint32_t> formed;
  int parted = 0;

  static actors::actor::setup setup(std::shared_ptr<rank_stand_in> heard) {
    return [heard = std::move(heard)](actors::actor&, actors::inbox& in) {
      in.on<form_ranks>([heard](const form_ranks& how) { heard->formed.push_back(how.generation); });
      in.on<part_ranks>([heard](const part_ranks&) { ++heard->parted; });
      in.on<rank_word>([](const rank_word&) {});
    };
  }
};

/// A stand-in for a rollout: ends every group at once, each answer of five tokens of the newest version; or, where the
/// test says so, none.
struct rollout_stand_in {
  handle<decides> coordinator;
  role_instance who;
  bool ends_groups = true;
  std::uint32_t version = 0;
  std::vector<generate_group> asked;
  std::vector<std::uint64_t> cancelled;

  static actors::actor::setup setup(std::shared_ptr<rollout_stand_in> state) {
    return [state = std::move(state)](actors::actor&, actors::inbox& in) {
      in.on<generate_group>([state](const generate_group& ask) {
        state->asked.push_back(ask);
        if (state->ends_groups)
          actors::tell(state->coordinator, group_generated{.from = state->who,
                                                           .group = ask.group,
                                                           .attempt = ask.attempt,
                                                           .tokens = {{state->version, 5 * ask.answers}}});
        return group_accepted{.group = ask.group, .prompt_tokens = 3};
      });
      in.on<cancel_group>([state](const cancel_group& ask) { state->cancelled.push_back(ask.group); });
      in.on<interrupt_group>([state](const interrupt_group& ask) {
        actors::tell(state->coordinator,
                     group_interrupted{.from = state->who, .group = ask.group, .attempt = ask.attempt});
      });
      in.on<new_weights>([state](const new_weights& ask) {
        state->version = ask.version;
        return weights_live{.version = ask.version};
      });
    };
  }
};

/// A stand-in for a role that adds columns: every group at once. @param complaint of every group
inline actors::actor::setup adder_stand_in(const std::string& complaint = "") {
  return [complaint](actors::actor&, actors::inbox& in) {
    in.on<process_group>([complaint](const process_group& ask) {
      return group_columns{
          .group = ask.group, .attempt = ask.attempt, .summary = {{"reward", {0.5, 1}}}, .complaint = complaint};
    });
  };
}

/// A stand-in for a role that takes weights and may evaluate them; it answers when the test does.
struct evaluator_stand_in {
  words asked;
  std::vector<std::pair<new_weights, actors::reply<weights_live>>> taking;
  std::vector<std::pair<evaluate_version, actors::reply<version_evaluated>>> evaluating;

  static actors::actor::setup setup(std::shared_ptr<evaluator_stand_in> heard) {
    return [heard = std::move(heard)](actors::actor&, actors::inbox& in) {
      in.on<new_weights>([heard](const new_weights& ask, actors::reply<weights_live> done) {
        heard->asked.push_back("take " + std::to_string(ask.version));
        heard->taking.emplace_back(ask, std::move(done));
      });
      in.on<evaluate_version>([heard](const evaluate_version& ask, actors::reply<version_evaluated> done) {
        heard->asked.push_back("evaluate " + std::to_string(ask.version));
        heard->evaluating.emplace_back(ask, std::move(done));
      });
    };
  }
};

/// A coordinator whose processes and roles are stand-ins.
struct run_of_stand_ins {
  struct start_of {
    supervision::placed_process what;
    std::string token;
    std::int64_t pid;
  };

  temporary_folder scratch;
  run_files::run_folder folder = run_files::run_folder::create(scratch / "run");
  deterministic_system system;
  asking test{system};
  std::shared_ptr<const pipeline::pipeline> p;
  std::vector<start_of> starts;
  std::vector<std::int64_t> killed;
  std::optional<actors::run_outcome> outcome;
  std::shared_ptr<agent_stand_in> own_agent = std::make_shared<agent_stand_in>(); ///< of the run's own process
  std::vector<address> hired;                                                     ///< stand-ins
  handle<decides> coordinator;

  static words with_defaults(words overrides) {
    for (const char* setting : {"placement.rollout.processes=1", "placement.rules.processes=1",
                                "placement.learner.processes=1", "run.trajectories_fraction=0"})
      overrides.insert(overrides.begin(), setting);
    return overrides;
  }

  explicit run_of_stand_ins(const words& overrides = {}, const std::string& more_roles = {})
      : p(std::make_shared<const pipeline::pipeline>(tiny_pipeline(with_defaults(overrides), more_roles))) {
    telemetry::process_log().open(folder.log());
    telemetry::process_log().show_from(telemetry::level::error);
    coordinator = handle<decides>(system.start("coordinator", actors::coordinator(config())));
    send(begin_run{0});
  }

  run_of_stand_ins(const run_of_stand_ins&) = delete;
  run_of_stand_ins& operator=(const run_of_stand_ins&) = delete;

  ~run_of_stand_ins() {
    for (const auto& who : hired)
      actors::end_actor(who);
    actors::end_actor(coordinator);
    system.run();
  }

  template <class Message>
  void send(Message message) {
    actors::tell(coordinator, std::move(message));
    system.run();
  }

  /// The node that a process gets, or the line it is refused with.
  std::pair<node_id, std::string> join(const std::string& token, const role_instance& role) {
    const auto answer = test.ask(coordinator, join_run{token, role});
    return {answer->answer ? answer->answer->node : 0, answer->refused ? answer->refused->line : ""};
  }

  const start_of& start_of_role(const std::string& name) const {
    return *std::find_if(starts.rbegin(), starts.rend(),
                         [&](const auto& start) { return start.what.role.name() == name; });
  }

  struct process {
    node_id node = 0;
    std::shared_ptr<agent_stand_in> heard = std::make_shared<agent_stand_in>();
    handle<hosts_roles> agent;
    role_instance role;
    std::int64_t pid = 0;
  };

  template <class Protocol>
  handle<Protocol> hire(const actors::actor::setup& who) {
    hired.push_back(system.start("stand_in", who));
    return handle<Protocol>(hired.back());
  }

  process bring_up(const std::string& name, bool answers = true) {
    const auto& start = start_of_role(name);
    process fresh;
    fresh.heard->answers = answers;
    fresh.role = start.what.role;
    fresh.pid = start.pid;
    fresh.node = join(start.token, start.what.role).first;
    fresh.agent = hire<hosts_roles>(agent_stand_in::setup(fresh.heard));
    send(process_up{
        .node = fresh.node, .pid = fresh.pid, .host = "", .agent = fresh.agent, .address = {1}, .roles = {fresh.role}});
    return fresh;
  }

  /// What a policy says once it is up.
  role_ready leader_ready(const role_instance& who, node_id node, const std::shared_ptr<trainer_stand_in>& heard) {
    const auto where = hire<trains>(trainer_stand_in::setup(heard));
    return {.who = who,
            .node = node,
            .trainer = where,
            .publisher = handle<publishes_weights>(where),
            .state_keeper = handle<keeps_state>(where),
            .parameters = 10};
  }

  role_ready adder_ready(const role_instance& who, node_id node) {
    return {.who = who, .node = node, .column_adder = hire<adds_columns>(adder_stand_in())};
  }

  role_ready rollout_ready(const role_instance& who, node_id node, const std::shared_ptr<rollout_stand_in>& rollout) {
    rollout->coordinator = coordinator;
    rollout->who = who;
    const auto where = hire<generates>(rollout_stand_in::setup(rollout));
    return {.who = who,
            .node = node,
            .generator = where,
            .weights_taker = handle<takes_weights>(where),
            .capacity_groups = 8};
  }

  /// The processes of learner, rules and rollout, with their roles. @returns what the learner hears
  std::shared_ptr<trainer_stand_in> start_everything() {
    auto heard = std::make_shared<trainer_stand_in>();
    const auto learner = bring_up("learner/0");
    send(leader_ready(learner.role, learner.node, heard));
    const auto rules = bring_up("rules/0");
    send(adder_ready(rules.role, rules.node));
    const auto rollout = bring_up("rollout/0");
    send(rollout_ready(rollout.role, rollout.node, std::make_shared<rollout_stand_in>()));
    return heard;
  }

  /// How a step ends.
  enum class step_end { applied, skipped };

  /// Ends the training step under way.
  void finish_training(trainer_stand_in& heard, step_end how = step_end::applied) {
    auto report = heard.report();
    if (how == step_end::skipped) {
      report.skipped = true;
      report.complaint = "the loss is not finite (group 7)";
    }
    answer(heard.training.back().second, report);
  }

  /// Gives an answer that a stand-in kept back.
  template <class Answer>
  void answer(const actors::reply<Answer>& kept, const std::type_identity_t<Answer>& what) {
    kept(what);
    system.run();
  }

  template <class Answer>
  void refuse(const actors::reply<Answer>& kept, const std::string& line) {
    kept.refuse(line);
    system.run();
  }

  std::string log() const { return read_file(folder.log()); }

private:
  actors::coordinator_config config() {
    actors::coordinator_config config;
    config.pipeline = p;
    config.resolved = "the pipeline";
    config.data = data_plane_of(actors::own_node);
    config.run_key.assign(32, 7);
    config.record = std::make_shared<actors::run_record>(*p, folder, 0);
    config.checkpoints = std::make_shared<run_files::checkpoint_store>(folder.checkpoints(), 2);
    config.scheduler = std::make_shared<schedule::scheduler>(pipeline::schedule_of(*p));
    config.start_source = [](actors::actor& beside, const std::optional<source_position>&) {
      return handle<gives_prompts>(beside.start("source", source_stand_in()));
    };
    config.start_agent = [this](actors::actor& beside, const handle<decides>&) {
      return handle<hosts_roles>(beside.start("agent", agent_stand_in::setup(own_agent)));
    };
    config.start_process = [this](const supervision::placed_process& what, const std::string& token) {
      starts.push_back({what, token, 1000 + static_cast<std::int64_t>(starts.size())});
      return starts.back().pid;
    };
    config.kill_process = [this](std::int64_t pid) { killed.push_back(pid); };
    config.deaths = std::make_shared<supervision::learner_deaths>();
    config.on_end = [this](actors::run_outcome how) { outcome = std::move(how); };
    return config;
  }
};

} // namespace millrace::tests
