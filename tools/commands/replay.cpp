#include "runtime/replay/replay.hpp"

#include "actors/process/run_start.hpp"
#include "actors/process/staged_run.hpp"
#include "runtime/pipeline/stages.hpp"
#include "runtime/run_files/data_digests.hpp"
#include "runtime/run_files/run_folder.hpp"
#include "runtime/run_files/step_lines.hpp"
#include "runtime/telemetry/metrics.hpp"
#include "runtime/telemetry/printed.hpp"
#include "runtime/words/input_error.hpp"
#include "tools/command.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace millrace::tools {
namespace {

struct replay_arguments {
  std::filesystem::path folder;
  std::int64_t steps = 0;
};

std::vector<train::step_record> read_record(const std::filesystem::path& path) {
  std::vector<train::step_record> steps;
  for (const auto& line : run_files::read_step_lines(path)) {
    try {
      steps.push_back(train::step_record_from(line));
    } catch (const input_error& error) {
      throw input_error(path.string() + ":" + std::to_string(steps.size() + 1) + ":1: " + error.what());
    }
  }
  if (steps.empty())
    throw input_error(path.string() + ": no step is recorded, want the folder of a run that trained");
  return steps;
}

/// The first figure of a step that is another bit for bit, in words, or "". Every figure that the steps made again have
/// is compared, but for what a clock said.
std::string difference(const telemetry::metric_row& recorded, const std::map<std::string, double>& again) {
  std::vector<std::string> names{std::string(telemetry::metric::loss)}; // what people look for first
  for (const auto& [name, value] : again)
    if (!name.starts_with(telemetry::metric::timing("")))
      names.push_back(name);
  for (const auto& name : names) {
    const auto was = recorded.get(name);
    const auto is = again.find(name);
    if (!was || is == again.end() || std::bit_cast<std::uint64_t>(*was) == std::bit_cast<std::uint64_t>(is->second)
        || (!std::isfinite(*was) && !std::isfinite(is->second))) // the file says of neither which it is
      continue;
    return name + telemetry::printed(" was %.17g and is %.17g", *was, is->second);
  }
  return {};
}

/// A folder that is gone with it.
class scratch {
public:
  scratch() : path_((std::filesystem::temp_directory_path() / "millrace-replay-XXXXXX").string()) {
    if (::mkdtemp(path_.data()) == nullptr)
      throw input_error(path_ + " cannot be made: " + std::strerror(errno));
  }

  ~scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  scratch(const scratch&) = delete;
  scratch& operator=(const scratch&) = delete;

  const std::string& path() const { return path_; }

private:
  std::string path_;
};

/// A step made again from other rows would differ, and not say why. What is asked of a version is not made again.
void check_data(const std::filesystem::path& folder, pipeline::pipeline p) {
  std::erase_if(p.roles, [](const auto& role) { return role.kind() == pipeline::evaluation_table::kind; });
  run_files::want_same_data(folder / "data.json", actors::data_files_of(p));
}

using step_iterator = std::vector<train::step_record>::const_iterator;

step_iterator end_of_session(step_iterator first, step_iterator last) {
  return std::find_if(first, last, [&](const auto& part) { return part.session != first->session; });
}

void print_step(const train::step_record& part, const std::string& stage, const std::string& difference,
                const std::map<std::string, double>& figures) {
  nlohmann::ordered_json object;
  if (!stage.empty())
    object["stage"] = stage;
  object["step"] = part.step;
  object["part"] = part.part;
  object["same"] = difference.empty();
  if (const auto loss = figures.find(std::string(telemetry::metric::loss)); loss != figures.end())
    object["loss"] = loss->second;
  std::printf("%s\n", object.dump().c_str());
  std::fflush(stdout);
}

/// A plain run, or one stage of several.
/// @returns whether everything is the same
bool run_again(const std::filesystem::path& folder, const std::string& stage, std::int64_t most_steps) {
  run_files::holder_of_run(folder); // says so where it is no run
  auto steps = read_record(folder / "replay.jsonl");
  const auto metrics = telemetry::read_metrics(folder / "metrics.jsonl");
  if (most_steps > 0)
    std::erase_if(steps, [&](const auto& part) { return part.step > static_cast<std::uint64_t>(most_steps); });
  const std::string of_stage = stage.empty() ? "" : " of stage " + stage;
  std::int64_t ended = 0;
  std::unique_ptr<scratch> checkpoint; // between two sessions
  for (auto first = steps.cbegin(); first != steps.cend();) {
    const auto last = end_of_session(first, steps.cend());
    const auto p = pipeline::read_pipeline(run_files::resolved_of(folder, first->session));
    check_data(folder, p);
    replay::replayer replayer(p, {first, last}, checkpoint ? checkpoint->path() : "");
    for (auto part = first; part != last; ++part) {
      const auto step = replayer.step(static_cast<std::size_t>(part - first));
      std::string what = step.group ? "group " + std::to_string(*step.group) + ": " + step.difference : "";
      const auto row = std::find_if(metrics.begin(), metrics.end(), [&](const auto& m) {
        return m.step == static_cast<std::int64_t>(part->step) && m.get(telemetry::metric::loss);
      });
      if (what.empty() && part->ends_step && row != metrics.end())
        what = difference(*row, step.report.metrics);
      print_step(*part, stage, what, step.report.metrics);
      if (!what.empty()) {
        std::fprintf(stderr, "the first difference is in step %llu%s: %s\n",
                     static_cast<unsigned long long>(part->step), of_stage.c_str(), what.c_str());
        return false;
      }
      ended += part->ends_step;
    }
    if (last != steps.cend()) {
      checkpoint = std::make_unique<scratch>();
      replayer.write_checkpoint(checkpoint->path());
    }
    first = last;
  }
  std::fprintf(
      stderr,
      "%lld steps%s, every one the same bit for bit: tokens, log-probabilities, rewards, values, losses, gradients\n",
      static_cast<long long>(ended), of_stage.c_str());
  return true;
}

int run_again(const replay_arguments& options) {
  run_files::holder_of_run(options.folder);
  const auto stages = pipeline::read_stages(options.folder / "resolved.toml");
  if (!pipeline::is_staged(stages))
    return run_again(options.folder, "", options.steps) ? 0 : 1;
  for (std::size_t i = 0; i < stages.size(); ++i) {
    const auto folder = actors::folder_of_stage(options.folder, stages, i);
    if (!std::filesystem::exists(folder / "replay.jsonl"))
      break; // the run did not come to it
    if (!run_again(folder, stages[i].name, options.steps))
      return 1;
  }
  return 0;
}

} // namespace

constexpr const char* replay_footer =
    R"(Each group is generated again from its seed with the versions that sampled its tokens (or written again from its
row's demonstrations), scored by rules, reward models, references and the critic with the weights that they had for
it, and trained, on one thread of control. Compared are the columns of every group and every figure of a step but
times. Runs that were resumed and those of several [[stage]]s are made again session by session, stage by stage.
Bits are the same on the build and the kind of machine that made the run; models and data files must be as they were.
Refused: the record of a build that did not write down which of several roles answered a prompt, or with which
weights a critic, a reward model or a reference that follows the policy computed a group's columns.
One JSON object a step (or part of one) on stdout; exit status 1 at the first difference.)";

command replay_command() {
  const auto given = std::make_shared<replay_arguments>();
  return {.name = "replay",
          .help = "Make a recorded run again, bit for bit, and say where the first difference lies",
          .footer = replay_footer,
          .arguments = {{.name = "RUN", .to = &given->folder, .help = "The run's folder", .required = true},
                        {.name = "--steps",
                         .to = &given->steps,
                         .help = "Only the first steps (0: all), of each stage",
                         .numbers = sign::not_negative}},
          .run = [given] { return run_again(*given); }};
}

} // namespace millrace::tools
