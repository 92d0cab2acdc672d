#include "tools/clusters/conducted_run.hpp"

#include "runtime/cluster/child_process.hpp"
#include "runtime/formats/quoted.hpp"
#include "runtime/pipeline/stages.hpp"

#include <chrono>
#include <csignal>
#include <future>

namespace millrace::tools {
namespace {

std::string toml_text(const std::string& text) {
  std::string written = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\')
      written += '\\';
    written += c;
  }
  return written + '"';
}

std::string toml_list(const std::vector<std::string>& texts) {
  std::string written;
  for (const auto& text : texts)
    written += (written.empty() ? "" : ", ") + toml_text(text);
  return '[' + written + ']';
}

} // namespace

std::vector<std::string> arguments_of(const conducted_run& run) {
  const auto resolved = run.output / "resolved.toml";
  const bool begun = std::filesystem::exists(resolved);
  std::vector<std::string> arguments{begun ? "resume" : "run"};
  if (begun)
    arguments.push_back(run.output.string());
  else {
    for (const auto& file : run.files)
      arguments.push_back(file.string());
    arguments.insert(arguments.end(), {"--output", run.output.string()});
  }
  auto sets = run.overrides;
  const auto stages = begun ? pipeline::read_stages(resolved) : pipeline::read_stages(run.files, run.overrides);
  for (const auto& stage : stages) {
    const std::string table = stage.name.empty() ? "placement." : "stage." + stage.name + ".placement.";
    sets.push_back(table + "nodes=" + toml_list(run.nodes));
    if (!run.nodes.empty())
      sets.push_back(table + "secret_file=" + toml_text(run.secret_file.string()));
  }
  for (auto& set : sets)
    arguments.insert(arguments.end(), {"--set", std::move(set)});
  return arguments;
}

int conduct(const conducted_run& run, const stop_request& stop, const std::function<void()>& look) {
  constexpr auto between_looks = std::chrono::milliseconds(100);
  constexpr int looks_between_words = 20; // a run that has only just begun may not have heard the first
  std::promise<int> told;
  auto end = told.get_future();
  cluster::child_processes children([&told](const cluster::child_exit& exit) { told.set_value(exit.status); });
  const auto child = children.start({.arguments = arguments_of(run)});
  for (int looks = 0; end.wait_for(between_looks) != std::future_status::ready;) {
    if (stop.asked_twice())
      children.signal(child, SIGKILL);
    else if (stop.asked() && looks++ % looks_between_words == 0)
      children.signal(child, SIGTERM);
    if (look)
      look();
  }
  return end.get();
}

} // namespace millrace::tools
