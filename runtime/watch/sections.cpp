#include "runtime/watch/sections.hpp"

#include "runtime/pipeline/draw.hpp"
#include "runtime/report/bars.hpp"
#include "runtime/report/frame.hpp"
#include "runtime/report/line_chart.hpp"
#include "runtime/telemetry/progress.hpp"
#include "runtime/watch/groups.hpp"
#include "runtime/watch/memory.hpp"
#include "runtime/words/input_error.hpp"

#include <algorithm>
#include <cctype>
#include <initializer_list>
#include <map>
#include <utility>

namespace millrace::watch {
namespace {

using report::escaped;
using report::in_figures;
using telemetry::printed;

std::string row_of(const std::vector<std::string>& cells, std::string_view kind = "td") {
  std::string row = "<tr>";
  for (const auto& cell : cells)
    row += "<" + std::string(kind) + ">" + cell + "</" + std::string(kind) + ">";
  return row + "</tr>\n";
}

std::string head_html(const run_view& run) {
  if (!run.status)
    return "<p>The run has written no status yet.</p>\n";
  const auto& status = *run.status;
  telemetry::progress shown{
      status.step, status.steps, status.reward, status.tokens_per_s, status.staleness, status.left_s, ""};
  std::string html = "<h1>" + escaped(status.name) + " <span class=\"state " + escaped(status.state) + "\">"
                     + escaped(status.state) + "</span></h1>\n<p>" + escaped(telemetry::in_words(shown)) + "</p>\n";
  if (!status.why.empty())
    html += "<p class=\"bad\">" + escaped(status.why) + "</p>\n";
  return html;
}

/// The roles with what they do, and the memory of their processes; then who waits for whom.
std::string roles_html(const run_view& run) {
  if (!run.status)
    return "";
  std::string html =
      "<div class=\"scroll\"><table class=\"roles\">" + row_of({"role", "state", "memory", "process", "host"}, "th");
  for (const auto& role : run.status->roles) {
    const auto bytes = role.host.empty() ? resident_bytes(role.pid) : std::nullopt;
    html += row_of({escaped(role.name), escaped(role.state), bytes ? std::to_string(*bytes >> 20) + " MiB" : "",
                    std::to_string(role.pid), role.host.empty() ? "this one" : escaped(role.host)});
  }
  html += "</table></div>\n<h3>Groups in each queue</h3>\n<div class=\"scroll\"><table>";
  std::vector<std::string> states, counts;
  for (const auto& [state, count] : run.status->groups) {
    states.push_back(escaped(state));
    counts.push_back(std::to_string(count));
  }
  html += row_of(states, "th") + row_of(counts) + "</table></div>\n<h3>Who waits for whom</h3>\n";
  if (run.status->waits.empty())
    return html + "<p>Nobody waits.</p>\n";
  html += "<ul>";
  for (const auto& line : telemetry::stall_report(run.status->waits, {}, 0))
    html += "<li>" + escaped(line) + "</li>\n";
  return html + "</ul>\n";
}

struct chart {
  std::string_view title, unit;
  std::vector<std::string_view> figures; ///< a line each
};

std::string curves_html(const run_view& run) {
  const std::vector<chart> charts{{"Reward", "mean of answers", {metric::reward, metric::reward_std}},
                                  {"Loss", "loss", {metric::loss}},
                                  {"Entropy", "nats a token", {metric::entropy}},
                                  {"KL", "nats a token", {metric::kl, metric::policy_kl, metric::mismatch_kl}},
                                  {"Length of answers", "tokens", {metric::length_mean, metric::length_max}},
                                  {"Staleness", "versions", {metric::staleness_mean, metric::staleness_max}},
                                  {"Generation", "tokens a second", {metric::generation_rate}},
                                  {"Time of a step", "s", {metric::time_per_step}}};
  const auto line_of = [&](const std::string& name) { return report::series{name, run.curves.at(name).points()}; };
  std::string html;
  for (const auto& [title, unit, figures] : charts) {
    std::vector<report::series> lines;
    for (const auto name : figures)
      if (run.curves.contains(std::string(name)))
        lines.push_back(line_of(std::string(name)));
    html += report::line_chart(title, "step", unit, lines);
  }
  std::vector<report::series> rules, held_out;
  for (const auto& [name, points] : run.curves)
    if (name.starts_with("rewards/"))
      rules.push_back(line_of(name));
    else if (name.find('@') != std::string::npos)
      held_out.push_back(line_of(name));
  html += report::line_chart("Reward by rule", "step", "mean of answers", rules)
          + report::line_chart("Held-out sets", "version", "share", held_out);
  if (run.staleness.count() > 0) {
    report::bar_set ages{"tokens", {}};
    for (std::size_t i = 0; i < metric::ages.size(); ++i)
      ages.bars.emplace_back(metric::ages[i], run.staleness.tokens[i]);
    html += report::bar_chart("Staleness at use", "versions behind", "tokens", std::vector{ages});
  }
  return html.empty() ? "<p>No step is done yet.</p>\n" : "<div class=\"charts\">" + html + "</div>\n";
}

std::string ledger_html(const run_view& run) {
  if (!run.status)
    return "";
  const auto& ledger = run.status->ledger;
  const auto share = [&](std::int64_t tokens) {
    return ledger.generated > 0
               ? printed("%.1f %%", 100.0 * static_cast<double>(tokens) / static_cast<double>(ledger.generated))
               : std::string();
  };
  const auto line = [&](const std::string& name, std::int64_t tokens) {
    return row_of({name, in_figures(static_cast<double>(tokens)), share(tokens)});
  };
  std::string html = "<table>" + row_of({"tokens", "", "share"}, "th") + line("generated", ledger.generated)
                     + line("trained", ledger.trained) + line("live", ledger.live);
  for (const auto& [reason, tokens] : ledger.dropped)
    html += line("dropped: " + escaped(reason), tokens);
  return html + "</table>\n" + (ledger.closes() ? "" : "<p class=\"bad\">The ledger does not close.</p>\n");
}

std::string failures_html(const run_view& run) {
  if (run.failures.empty())
    return "<p>None.</p>\n";
  std::string html = "<ul class=\"log\">";
  for (const auto& line : run.failures)
    html += "<li>" + escaped(line) + "</li>\n";
  return html + "</ul>\n";
}

/// "3 ready, 4 training": the named ones of the run's queues.
std::string queues(const telemetry::run_status& status, std::initializer_list<std::string_view> names) {
  std::string words;
  for (const auto name : names)
    for (const auto& [state, count] : status.groups)
      if (state == name)
        words += (words.empty() ? "" : ", ") + std::to_string(count) + " " + state;
  return words;
}

/// What stands below each role of the graph: its first copy's state, rate and queues, whom it waits for.
pipeline::role_notes notes_of(const pipeline::pipeline& p, const telemetry::run_status& status) {
  pipeline::role_notes notes;
  const auto role_of = [](const std::string& instance) { return instance.substr(0, instance.find('/')); };
  std::map<std::string, int> copies;
  for (const auto& role : status.roles)
    if (copies[role_of(role.name)]++ == 0)
      notes[role_of(role.name)].push_back(role.state);
  for (const auto& [role, count] : copies)
    if (count > 1)
      notes[role].front() += printed(" (1 of %d)", count);
  const auto add = [&](const std::string& role, const std::string& words) {
    if (!words.empty())
      notes[role].push_back(words);
  };
  for (const auto* source : p.of<pipeline::source_table>())
    add(source->name, queues(status, {"queued", "parked"}));
  if (const auto rollouts = p.of<pipeline::rollout_table>(); rollouts.size() == 1)
    add(rollouts.front()->name, printed("%.0f tokens/s, ", status.tokens_per_s) + queues(status, {"generating"}));
  add(p.policy().name, queues(status, {"finished", "ready", "training"}));
  for (const auto& wait : status.waits)
    add(role_of(wait.who), "waits for " + wait.what + (wait.on.empty() ? "" : " on " + wait.on.front()));
  return notes;
}

} // namespace

std::string graph_in_svg(const run_view& run) {
  if (!run.pipeline)
    return "";
  return pipeline::draw_svg(*run.pipeline, run.status ? notes_of(*run.pipeline, *run.status) : pipeline::role_notes());
}

namespace {

/// As a picture: its style is no style of the page. It comes with the page, so that nobody asks for it again and again.
std::string graph_html(const run_view& run) {
  const auto svg = graph_in_svg(run);
  if (svg.empty())
    return "<p>The pipeline's file, or a file that it names, cannot be read any more.</p>\n";
  std::string html = "<div class=\"scroll\"><img alt=\"The graph of roles\" src=\"data:image/svg+xml,";
  for (const unsigned char c : svg)
    html += c < 0x80 && (std::isalnum(c) || c == ' ' || c == '.' || c == '-') ? std::string(1, static_cast<char>(c))
                                                                              : printed("%%%02X", c);
  return html + "\"></div>\n";
}

} // namespace

sections::sections() {
  for (const auto& [id, title] : {std::pair{"head", ""},
                                  {"graph", "Pipeline"},
                                  {"roles", "Roles, hosts, memory"},
                                  {"curves", "Curves"},
                                  {"ledger", "Ledger"},
                                  {"failures", "Warnings and errors"},
                                  {"groups", "Newest groups"}})
    all_.push_back({.id = id, .title = title, .tools = {}, .html = {}});
  all_.back().tools = token_chooser();
}

void sections::put(std::string_view id, std::string html) {
  const auto at = std::find_if(all_.begin(), all_.end(), [&](const section& s) { return s.id == id; });
  if (at->html == html)
    return;
  at->html = std::move(html);
  ++at->version;
}

void sections::update(const run_view& run) {
  if (std::exchange(status_seen_, run.status_changes) != run.status_changes) {
    put("head", head_html(run));
    put("graph", graph_html(run));
    put("roles", roles_html(run));
    put("ledger", ledger_html(run));
  }
  if (std::exchange(metrics_seen_, run.metric_changes) != run.metric_changes)
    put("curves", curves_html(run));
  if (std::exchange(groups_seen_, run.group_changes) != run.group_changes)
    put("groups", groups_in_html(run));
  if (std::exchange(failures_seen_, run.failure_changes) != run.failure_changes)
    put("failures", failures_html(run));
}

} // namespace millrace::watch
