#pragma once

#include "actors/coordinator/run_record.hpp"
#include "actors/protocol/actor.hpp"
#include "runtime/messages/node.hpp"
#include "runtime/messages/run.hpp"
#include "runtime/pipeline/pipeline.hpp"
#include "runtime/run_files/checkpoint_store.hpp"
#include "runtime/supervision/learner_deaths.hpp"
#include "runtime/supervision/placed_processes.hpp"
#include "runtime/supervision/step_figures.hpp"
#include "runtime/transport/data_plane.hpp"

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace millrace::actors {

inline constexpr node_id own_node = 1; ///< data-plane node of the run's own process

/// How a run ended.
struct run_outcome {
  bool ok = false;
  std::string line;      ///< why not, for people; "" if ok
  bool at_start = false; ///< not ok: a role did not start, from the models or from the checkpoint
  bool stopped = false;  ///< ok, but a person or the system stopped it before its end: `resume` goes on
  /// Not ok: a process died whose state only the last checkpoint has, and the run goes on from that. `line` says who.
  bool goes_on = false;
  std::uint32_t step = 0; ///< trained
};

/// What the coordinator is started with.
struct coordinator_config {
  std::shared_ptr<const pipeline::pipeline> pipeline;
  std::string resolved;                        ///< the pipeline as text, for the run's other processes
  std::shared_ptr<transport::data_plane> data; ///< of the run's own process
  std::vector<std::uint8_t> run_key;
  std::string bind; ///< data plane address for processes on other hosts; "" = loopback
  std::shared_ptr<run_record> record;
  std::shared_ptr<run_files::checkpoint_store> checkpoints;
  std::shared_ptr<schedule::scheduler> scheduler; ///< new, or restored
  std::string checkpoint;                         ///< folder that roles with state go on from; "" = from their models
  supervision::step_figures within_step;   ///< of a half-trained step, from a checkpoint between two of its parts
  std::optional<source_position> position; ///< where the data goes on
  std::shared_ptr<supervision::learner_deaths> deaths; ///< of all sessions of this process

  /// Starts the role that gives prompts, beside the coordinator. @throws input_error
  std::function<handle<gives_prompts>(actor& beside, std::optional<source_position> from)> start_source;
  /// Starts the agent of the run's own process. It ends with the coordinator.
  std::function<handle<hosts_roles>(actor& beside, const handle<decides>& coordinator)> start_agent;
  /// Starts the process of a placed role on this host, which joins with `token`. @returns its process id
  /// @throws std::exception
  std::function<std::int64_t(const supervision::placed_process&, const std::string& token)> start_process;
  std::function<void(std::int64_t pid)> kill_process;
  std::map<std::string, handle<starts_processes>> nodes; ///< by the name that the placement gives them
  /// Connects to a node that has been lost. Blocks for seconds. @throws std::exception when it is not there
  std::function<handle<starts_processes>(const std::string& host)> find_node;

  /// Called once, on the coordinator's thread, when everything is written.
  std::function<void(run_outcome)> on_end;
};

/// The one actor that decides. It hosts the scheduler (through `group_router`), knows every process and the abilities
/// of every role of the run, and writes the run's files. Its protocol and invariants: `decides`.
actor::setup coordinator(coordinator_config config);

} // namespace millrace::actors
