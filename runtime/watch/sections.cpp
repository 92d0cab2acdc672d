#include "runtime/watch/sections.hpp"

#include "runtime/formats/strict_json.hpp"
#include "runtime/pipeline/draw.hpp"
#include "runtime/report/bars.hpp"
#include "runtime/report/frame.hpp"
#include "runtime/report/line_chart.hpp"
#include "runtime/telemetry/progress.hpp"
#include "runtime/watch/memory.hpp"
#include "runtime/words/input_error.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <set>

namespace millrace::watch {
namespace {

using json = nlohmann::ordered_json;
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
      "<div class=\"scroll\"><table>" + row_of({"role", "state", "host", "process", "memory, MiB"}, "th");
  for (const auto& role : run.status->roles) {
    const auto bytes = role.host.empty() ? resident_bytes(role.pid) : std::nullopt;
    html += row_of({escaped(role.name), escaped(role.state), role.host.empty() ? "this one" : escaped(role.host),
                    std::to_string(role.pid), bytes ? std::to_string(*bytes >> 20) : ""});
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

/// The first characters of a long text, whole ones, escaped.
std::string cut(const std::string& text) {
  constexpr std::size_t most = 6000;
  if (text.size() <= most)
    return escaped(text);
  std::size_t end = most;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80)
    --end;
  return escaped(text.substr(0, end)) + printed(" ... (%zu bytes more)", text.size() - end);
}

std::string answer_html(const json& answer) {
  std::string rewards;
  for (const auto& [rule, reward] : answer.at("rewards").items())
    rewards +=
        " <span>" + escaped(rule) + " " + (reward.is_number() ? in_figures(reward.get<double>()) : "-") + "</span>";
  const auto& reward = answer.at("reward");
  const auto& versions = answer.at("versions");
  return "<div class=\"answer\"><p><b>" + (reward.is_number() ? in_figures(reward.get<double>()) : "-") + "</b>"
         + rewards + "</p><pre>" + cut(answer.at("text").get<std::string>()) + "</pre><p>"
         + std::to_string(answer.at("tokens").get<std::int64_t>()) + " tokens, "
         + escaped(answer.at("finish").get<std::string>()) + ", versions "
         + std::to_string(versions.at(0).get<std::int64_t>()) + " to "
         + std::to_string(versions.at(1).get<std::int64_t>()) + "</p></div>\n";
}

} // namespace

std::string group_in_html(const std::string& row) {
  try {
    constexpr std::size_t most = 32;
    const auto group = formats::parse_json<json>(row, "trajectories");
    std::string html = "<h3>step " + std::to_string(group.at("step").get<std::int64_t>()) + ", group "
                       + std::to_string(group.at("group").get<std::uint64_t>()) + "</h3>\n<pre class=\"prompt\">"
                       + cut(group.at("prompt").get<std::string>()) + "</pre>\n<p>expected: "
                       + cut(group.at("ground_truth").get<std::string>()) + "</p>\n<div class=\"answers\">";
    const auto& answers = group.at("answers");
    for (std::size_t i = 0; i < std::min(answers.size(), most); ++i)
      html += answer_html(answers[i]);
    html += "</div>\n";
    return answers.size() > most ? html + printed("<p>%zu answers more</p>\n", answers.size() - most) : html;
  } catch (const std::exception& error) { // the file is another program's, or damaged
    return "<p class=\"bad\">A group that cannot be read: " + escaped(error.what()) + "</p>\n";
  }
}

std::string graph_in_svg(const run_view& run) {
  try {
    const auto p = pipeline::read_pipeline(run.folder / "resolved.toml");
    pipeline::role_notes notes;
    std::map<std::string, int> copies;
    for (const auto& role : run.status ? run.status->roles : std::vector<telemetry::role_status>{})
      if (auto& note = notes[role.name.substr(0, role.name.find('/'))]; copies[role.name]++ == 0 && note.size() < 2)
        note.push_back(role.state);
    for (const auto& wait : run.status ? run.status->waits : std::vector<wait_record>{})
      if (auto& note = notes[wait.who.substr(0, wait.who.find('/'))]; note.size() < 3)
        note.push_back("waits for " + wait.what + (wait.on.empty() ? "" : " on " + wait.on.front()));
    return pipeline::draw_svg(p, notes);
  } catch (const std::exception&) { // a model or a data file was moved away since
    return "";
  }
}

sections::sections() {
  for (const auto& [id, title] : {std::pair{"head", ""},
                                  {"graph", "Pipeline"},
                                  {"roles", "Roles, hosts, memory"},
                                  {"curves", "Curves"},
                                  {"ledger", "Ledger"},
                                  {"failures", "Warnings and errors"},
                                  {"groups", "Newest groups"}})
    all_.push_back({.id = id, .title = title, .html = {}});
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
    put("graph", "<div class=\"scroll\"><img src=\"graph.svg?at=" + std::to_string(run.status_changes)
                     + "\" alt=\"The graph of roles\"></div>\n");
    put("roles", roles_html(run));
    put("ledger", ledger_html(run));
  }
  if (std::exchange(metrics_seen_, run.metric_changes) != run.metric_changes)
    put("curves", curves_html(run));
  if (std::exchange(groups_seen_, run.group_changes) != run.group_changes) {
    std::string html;
    for (const auto& row : run.groups)
      html += group_in_html(row);
    put("groups", html.empty() ? "<p>No group was trained yet.</p>\n" : html);
  }
  if (std::exchange(failures_seen_, run.failure_changes) != run.failure_changes)
    put("failures", failures_html(run));
}

} // namespace millrace::watch
