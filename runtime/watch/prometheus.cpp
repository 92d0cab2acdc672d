#include "runtime/watch/prometheus.hpp"

#include "runtime/telemetry/printed.hpp"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <string_view>
#include <utility>

namespace millrace::watch {
namespace {

using telemetry::printed;
using labels = std::vector<std::pair<std::string_view, std::string>>;

/// The value of a label between its quotes.
std::string label_value(std::string_view text) {
  std::string out;
  for (const char c : text)
    out += c == '\\' ? "\\\\" : c == '"' ? "\\\"" : c == '\n' ? "\\n" : std::string(1, c);
  return out;
}

std::string number(double value) {
  if (std::isnan(value))
    return "NaN";
  if (std::isinf(value))
    return value > 0 ? "+Inf" : "-Inf";
  return printed("%.17g", value);
}

class exposition {
public:
  void family(std::string_view name, std::string_view type, std::string_view help) {
    name_ = "millrace_" + std::string(name);
    text_ += "# HELP " + name_ + ' ' + std::string(help) + "\n# TYPE " + name_ + ' ' + std::string(type) + '\n';
  }

  void sample(double value, const labels& by = {}, std::string_view suffix = "") {
    text_ += name_ + std::string(suffix);
    for (std::size_t i = 0; i < by.size(); ++i)
      text_ += (i == 0 ? "{" : ",") + std::string(by[i].first) + "=\"" + label_value(by[i].second) + '"';
    text_ += (by.empty() ? " " : "} ") + number(value) + '\n';
  }

  void gauge(std::string_view name, std::string_view help, double value) {
    family(name, "gauge", help);
    sample(value);
  }

  std::string text() { return std::move(text_); }

private:
  std::string name_, text_;
};

void add_status(exposition& out, const telemetry::run_status& status) {
  out.family("run_info", "gauge", "The run's name and state; always 1");
  out.sample(1, {{"run", status.name}, {"state", status.state}});
  out.gauge("step", "Optimizer steps done", static_cast<double>(status.step));
  out.gauge("steps_planned", "Optimizer steps that the run is to do", static_cast<double>(status.steps));
  out.gauge("elapsed_seconds", "Seconds of all sessions", status.elapsed_s);
  out.gauge("status_timestamp_seconds", "Unix time at which the run wrote its status", status.written_wall_s);
  out.gauge("tokens_per_second", "Generated tokens a second, all rollouts", status.tokens_per_s);
  out.family("groups", "gauge", "Live groups by state: the depth of each queue");
  for (const auto& [state, count] : status.groups)
    out.sample(static_cast<double>(count), {{"state", state}});
  const auto& ledger = status.ledger;
  out.family("tokens_total", "counter", "Tokens by the role that worked on them: generated and trained");
  out.sample(static_cast<double>(ledger.generated), {{"role", "rollout"}});
  out.sample(static_cast<double>(ledger.trained), {{"role", "policy"}});
  out.family("dropped_tokens_total", "counter", "Generated tokens that were not trained, by reason");
  for (const auto& [reason, tokens] : ledger.dropped)
    out.sample(static_cast<double>(tokens), {{"reason", reason}});
  out.gauge("live_tokens", "Generated tokens whose fate is open", static_cast<double>(ledger.live));
  out.family("pulled_bytes_total", "counter", "Tensors between processes by lane, copied or mapped");
  for (const auto& lane : status.lanes) {
    const auto add = [&](const char* how, std::uint64_t bytes) {
      out.sample(static_cast<double>(bytes), {{"to", lane.to}, {"from", lane.from}, {"lane", lane.lane}, {"how", how}});
    };
    add("copied", lane.bytes_pulled - std::min(lane.bytes_mapped, lane.bytes_pulled));
    add("mapped", lane.bytes_mapped);
  }
  out.gauge("waits", "Open waits", static_cast<double>(status.waits.size()));
  const auto overdue = std::count_if(status.waits.begin(), status.waits.end(), [](const wait_record& wait) {
    return wait.deadline_s > 0 && -wait.since_s > wait.deadline_s;
  });
  out.gauge("overdue_waits", "Open waits that are past their deadline", static_cast<double>(overdue));
}

void add_memory(exposition& out, const run_view& run, const std::vector<gpu_use>& gpus) {
  out.family("resident_memory_bytes", "gauge", "Memory of the run's processes on this host");
  out.sample(static_cast<double>(resident_bytes(::getpid()).value_or(0)),
             {{"process", "server"}, {"pid", std::to_string(::getpid())}});
  std::vector<std::int64_t> seen{::getpid()};
  if (run.status)
    for (const auto& role : run.status->roles)
      if (role.host.empty() && std::find(seen.begin(), seen.end(), role.pid) == seen.end())
        if (const auto bytes = resident_bytes(role.pid)) {
          seen.push_back(role.pid);
          out.sample(static_cast<double>(*bytes), {{"process", role.name}, {"pid", std::to_string(role.pid)}});
        }
  if (gpus.empty())
    return;
  out.family("gpu_memory_used_bytes", "gauge", "Memory in use of each GPU of this host");
  for (const auto& gpu : gpus)
    out.sample(static_cast<double>(gpu.memory_used), {{"gpu", std::to_string(gpu.index)}});
  out.family("gpu_memory_bytes", "gauge", "Memory of each GPU of this host");
  for (const auto& gpu : gpus)
    out.sample(static_cast<double>(gpu.memory_total), {{"gpu", std::to_string(gpu.index)}});
  out.family("gpu_utilisation_ratio", "gauge", "Share of the last moments in which a kernel ran");
  for (const auto& gpu : gpus)
    out.sample(gpu.utilisation, {{"gpu", std::to_string(gpu.index)}});
}

void add_staleness(exposition& out, const staleness_histogram& staleness) {
  constexpr std::array<std::string_view, metric::ages.size()> upper{"0", "1", "2", "4", "8", "+Inf"};
  out.family("staleness_versions", "histogram", "Versions between a trained token and the policy that trained it");
  double below = 0;
  for (std::size_t i = 0; i < upper.size(); ++i) {
    below += staleness.tokens[i];
    out.sample(below, {{"le", std::string(upper[i])}}, "_bucket");
  }
  out.sample(staleness.sum, {}, "_sum");
  out.sample(staleness.count(), {}, "_count");
}

} // namespace

std::string prometheus_text(const run_view& run, const std::vector<gpu_use>& gpus) {
  exposition out;
  if (run.status)
    add_status(out, *run.status);
  out.family("figure", "gauge", "Figures of the newest step, as metrics.jsonl names them");
  for (const auto& [name, value] : run.last_row.values)
    out.sample(value, {{"name", name}});
  add_staleness(out, run.staleness);
  add_memory(out, run, gpus);
  return out.text();
}

} // namespace millrace::watch
