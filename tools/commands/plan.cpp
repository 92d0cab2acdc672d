#include "runtime/pipeline/cluster.hpp"
#include "runtime/pipeline/errors.hpp"
#include "runtime/pipeline/schedule_config.hpp"
#include "runtime/schedule/virtual_time.hpp"
#include "runtime/words/input_error.hpp"
#include "tools/command.hpp"
#include "tools/commands/pipeline_arguments.hpp"
#include "tools/median.hpp"
#include "tools/memory_plan.hpp"
#include "tools/plan_costs.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <memory>
#include <optional>

namespace millrace::tools {

namespace {

using json = nlohmann::ordered_json;
using point = std::vector<std::pair<std::string, std::string>>; ///< key, value

/// Every combination of `key=a,b,c`, the last key changing fastest.
std::vector<point> grid_of(const std::vector<std::string>& axes) {
  std::vector<point> points{{}};
  for (const auto& axis : axes) {
    const auto equals = axis.find('=');
    if (equals == std::string::npos || equals + 1 == axis.size())
      throw input_error("--grid " + axis + ": want key=value,value,...");
    std::vector<point> more;
    for (const auto& before : points)
      for (std::size_t at = equals + 1; at <= axis.size();) {
        const auto comma = std::min(axis.find(',', at), axis.size());
        more.push_back(before);
        more.back().emplace_back(axis.substr(0, equals), axis.substr(at, comma - at));
        at = comma + 1;
      }
    points = std::move(more);
  }
  return points;
}

/// `staleness_max<=4`
struct bound {
  std::string figure;
  std::string compare;
  double value = 0;
};

bound bound_of(const std::string& text) {
  for (const std::string compare : {"<=", ">=", "<", ">"})
    if (const auto at = text.find(compare); at != std::string::npos && at > 0) {
      bound made{text.substr(0, at), compare, 0};
      const auto* end = text.data() + text.size();
      const auto [read, error] = std::from_chars(text.data() + at + compare.size(), end, made.value);
      if (error == std::errc{} && read == end)
        return made;
    }
  throw input_error("--best-under " + text + ": want figure<=number, with <, <=, > or >=");
}

bool holds(const bound& wanted, const json& figures) {
  if (!figures.contains(wanted.figure) || !figures[wanted.figure].is_number()) {
    std::string names;
    for (const auto& [name, value] : figures.items())
      if (value.is_number())
        names += (names.empty() ? "" : ", ") + name;
    throw input_error("--best-under: no figure '" + wanted.figure + "', want one of " + names);
  }
  const auto found = figures[wanted.figure].get<double>();
  return wanted.compare == "<="   ? found <= wanted.value
         : wanted.compare == ">=" ? found >= wanted.value
         : wanted.compare == "<"  ? found < wanted.value
                                  : found > wanted.value;
}

std::uint32_t percentile(const schedule::staleness& stale, double share) {
  std::int64_t all = 0, seen = 0;
  for (const auto& [versions, bucket] : stale.at_use)
    all += bucket.groups;
  for (const auto& [versions, bucket] : stale.at_use)
    if (seen += bucket.groups; static_cast<double>(seen) >= share * static_cast<double>(all))
      return versions;
  return stale.max();
}

json figures_of(const schedule::prediction& made) {
  const auto& books = made.books;
  const double groups = std::max<double>(1, static_cast<double>(books.trained.groups));
  json figures;
  // One step has no pace: then the whole run stands for it.
  const auto pace =
      made.trained.size() > 1
          ? schedule::pace_of(made.trained)
          : schedule::pace{made.step_s(),
                           made.seconds > 0 ? static_cast<double>(books.trained.tokens) / made.seconds : 0};
  figures["steps_per_hour"] = pace.step_s > 0 ? 3600.0 / pace.step_s : 0;
  figures["step_s"] = pace.step_s;
  figures["whole_run_s"] = made.seconds;
  figures["generated_tokens_per_s"] = made.seconds > 0 ? static_cast<double>(books.generated) / made.seconds : 0;
  figures["trained_tokens_per_s"] = pace.tokens_per_s;
  figures["trained_tokens_per_group"] = static_cast<double>(books.trained.tokens) / groups;
  figures["staleness_mean"] = made.stale.mean_by_group();
  figures["staleness_mean_by_token"] = made.stale.mean_by_token();
  figures["staleness_p99"] = percentile(made.stale, 0.99);
  figures["staleness_max"] = made.stale.max();
  figures["staleness_in_flight"] = static_cast<double>(made.stale.in_flight) / groups;
  figures["staleness_in_queue"] = static_cast<double>(made.stale.in_queue) / groups;
  figures["length_ratio"] = made.length_ratio();
  figures["learner_idle"] = 1 - made.learner.compute;
  figures["rollout_idle"] = 1 - made.rollout.compute;
  figures["waiting_episodes"] = made.most_waiting.answers;
  json wasted;
  std::int64_t tokens = 0;
  const auto waste = [&](const std::string& why, std::int64_t count) {
    if (count > 0)
      wasted[why] = count;
    tokens += count;
  };
  for (std::size_t i = 0; i < schedule::drop_reasons; ++i)
    waste(std::string(to_string(static_cast<schedule::drop_reason>(i))), books.dropped[i].tokens);
  waste("generated_again", books.lost);
  figures["wasted_share"] =
      books.generated > 0 ? static_cast<double>(tokens) / static_cast<double>(books.generated) : 0;
  figures["wasted_tokens"] = wasted.is_null() ? json::object() : wasted;
  const auto& l = made.learner;
  figures["learner"] = {{"compute", l.compute},         {"transfer", l.transfer},   {"wait_input", l.wait_input},
                        {"wait_version", l.wait_bound}, {"wait_turn", l.wait_turn}, {"storage", l.saving}};
  const auto& r = made.rollout;
  figures["rollout"] = {{"compute", r.compute},
                        {"wait_credit", r.wait_credit},
                        {"wait_weights", r.wait_weights},
                        {"paused", r.paused},
                        {"dead", r.dead}};
  return figures;
}

std::string words_of(const point& at) {
  std::string text;
  for (const auto& [key, value] : at)
    text += (text.empty() ? "" : " ") + key.substr(key.rfind('.') + 1) + '=' + value;
  return text.empty() ? "as in the file" : text;
}

/// What episodes are, and those that wait at once; "": answers are none.
std::string episodes_in_words(const pipeline::pipeline& p, const schedule::workload& costs,
                              const schedule::prediction& made) {
  const auto& rollout = std::get<pipeline::rollout_table>(p.of<pipeline::rollout_table>().at(0)->options);
  if (rollout.environment.empty() || costs.turns == 0)
    return {};
  const double median_s = costs.replies_s.empty()
                              ? costs.reply_s / std::sqrt(1 + costs.reply_cv * costs.reply_cv) // of a log-normal
                              : tools::median(costs.replies_s);
  char text[400];
  std::snprintf(
      text, sizeof text,
      "# %s: %.1f turns an episode, a reply after %.0f ms (p50) with %.0f observed tokens; at most %lld episodes "
      "wait at once in a process, with %s of keys and values\n",
      rollout.environment.c_str(), costs.turns, 1000 * median_s, costs.observed_tokens,
      static_cast<long long>(made.most_waiting.answers),
      bytes_in_words(waiting_bytes(p, made.most_waiting, costs.prompt_tokens)).c_str());
  return text;
}

struct plan_arguments {
  pipeline_arguments pipeline;
  std::string trace, cluster, show_cluster;
  std::vector<std::string> grid, costs, best;
  std::uint32_t steps = 0;
};

/// Predicts the points of a grid, one after another, and prints a line for each.
class planner {
public:
  explicit planner(const plan_arguments& given) : given_(given), source_({given.trace, given.cluster, given.costs}) {
    const auto names = tools::figures_of(schedule::prediction{});
    for (const auto& text : given.best) {
      bounds_.push_back(bound_of(text));
      holds(bounds_.back(), names); // throws for a figure that there is not, before anything is measured
    }
  }

  void print_heading() const {
    std::fprintf(stderr, "%-34s %10s %9s %11s %23s %8s %7s %7s %7s\n", "point", "steps/h", "step s", "trained t/s",
                 "stale mean / p99 / max", "wasted", "length", "learner", "rollout");
  }

  /// @throws pipeline_errors if the file itself, without a point of a grid, is refused
  void predict(const point& at) {
    auto overrides = given_.pipeline.overrides;
    json line;
    line["point"] = json::object();
    for (const auto& [key, value] : at) {
      overrides.push_back(key + '=' + value);
      line["point"][key] = value;
    }
    std::optional<pipeline::pipeline> p;
    try {
      p = pipeline::read_pipeline(given_.pipeline.files, overrides);
    } catch (const pipeline::pipeline_errors& refused) {
      if (at.empty())
        throw;
      std::string why = refused.what();
      line["refused"] = why = why.substr(0, why.find('\n'));
      std::cout << line.dump() << '\n';
      std::fprintf(stderr, "%-34s refused: %s\n", words_of(at).c_str(), why.c_str());
      ++refused_;
      return;
    }
    const auto figures = figures_of(*p);
    line.update(figures);
    std::cout << line.dump() << '\n';
    print_row(at, figures);
    choose(at, line, figures);
  }

  /// The fastest point within the bounds, if there are bounds.
  void print_best() const {
    if (bounds_.empty())
      return;
    json line;
    line["best"] = best_ ? best_->second : json();
    std::cout << line.dump() << '\n';
    std::fprintf(stderr, "best: %s\n", best_ ? best_->first.c_str() : "no point is within the bounds");
  }

  /// 0: every point was predicted, and one is within the bounds if there are any; 1: none is; 2: some were refused.
  int exit_status() const { return refused_ > 0 ? 2 : !bounds_.empty() && !best_ ? 1 : 0; }

private:
  json figures_of(const pipeline::pipeline& p) {
    const auto [costs, notes] = source_.of(p);
    const bool first = std::exchange(first_, false);
    if (first) {
      std::fprintf(stderr, "# %s\n", in_words(costs).c_str());
      for (const auto& note : notes)
        std::fprintf(stderr, "# %s\n", note.c_str());
      if (given_.cluster.empty()) // whose memory is not this host's
        std::fputs(memory_in_words({{"", p}}).c_str(), stderr);
    }
    auto settings = pipeline::schedule_of(p);
    settings.steps = given_.steps > 0 ? given_.steps : std::min<std::uint32_t>(settings.steps, 500);
    const auto made = schedule::simulate(settings, costs);
    if (first)
      std::fputs(episodes_in_words(p, costs, made).c_str(), stderr);
    return tools::figures_of(made);
  }

  static void print_row(const point& at, const json& figures) {
    const auto number = [&](const char* name) { return figures[name].get<double>(); };
    std::fprintf(stderr, "%-34s %10.1f %9.3f %11.0f %12.2f /%4.0f /%4.0f %7.1f%% %7.2f %6.0f%% %6.0f%%\n",
                 words_of(at).c_str(), number("steps_per_hour"), number("step_s"), number("trained_tokens_per_s"),
                 number("staleness_mean"), number("staleness_p99"), number("staleness_max"),
                 100 * number("wasted_share"), number("length_ratio"), 100 - 100 * number("learner_idle"),
                 100 - 100 * number("rollout_idle"));
  }

  void choose(const point& at, const json& line, const json& figures) {
    bool fits = true;
    for (const auto& wanted : bounds_)
      fits = holds(wanted, figures) && fits;
    if (fits && !bounds_.empty() && (!best_ || figures["steps_per_hour"] > best_->second["steps_per_hour"]))
      best_ = {words_of(at), line};
  }

  const plan_arguments& given_;
  cost_source source_;
  std::vector<bound> bounds_;
  std::optional<std::pair<std::string, json>> best_; ///< in words, and its line
  bool first_ = true;
  std::size_t refused_ = 0;
};

int run_plan(const plan_arguments& given) {
  if (!given.show_cluster.empty()) {
    std::cout << pipeline::cluster_text(given.show_cluster);
    return 0;
  }
  if (given.pipeline.files.empty())
    throw input_error("plan: no FILE, want a pipeline in TOML");
  planner all(given);
  all.print_heading();
  for (const auto& at : grid_of(given.grid))
    all.predict(at);
  all.print_best();
  return all.exit_status();
}

/// Every name of a cost, in lines of about 100 columns.
std::string cost_names() {
  std::string names;
  const schedule::workload defaults;
  schedule::workload::each(defaults, [&](const std::string& name, const auto&) {
    const auto line = names.size() - (names.rfind('\n') == std::string::npos ? 0 : names.rfind('\n'));
    names += (names.empty() ? "" : line > 100 ? ",\n" : ", ") + name;
  });
  return names;
}

std::string cluster_list() {
  std::string names;
  for (const auto& name : pipeline::cluster_names())
    names += (names.empty() ? "" : ", ") + name;
  return names;
}

constexpr const char* plan_footer =
    "Costs come from one of: a recorded run (--trace), a cluster (--cluster), numbers (--costs). With none of them the "
    "pipeline's\n"
    "model is loaded and measured here for a few seconds. stderr: the costs, what is uncertain about them, and a line "
    "for each\n"
    "point: steps an hour, seconds a step and trained tokens a second between the end of the first step and that of "
    "the last;\n"
    "staleness at use; tokens wasted; length of what is trained over that of what is generated; shares of time that "
    "the\n"
    "learner and the rollouts' places are busy. stdout: one JSON object a point, with every figure by name; with "
    "--best-under\n"
    "a last one {\"best\": ...}. Exit status: 0, 1 no point is within the bounds, 2 a point was refused.\n\n"
    "Costs by name (seconds in _s): ";

std::vector<argument> arguments_of(plan_arguments& given) {
  return {
      given.pipeline.file(false),
      {.name = "--trace",
       .to = &given.trace,
       .help = "A recorded run's folder, or a .csv with the tokens of a group's answers in each line"},
      {.name = "--cluster",
       .to = &given.cluster,
       .help = "GPUs that do not have to be there: " + cluster_list() + ", or a TOML file like theirs"},
      {.name = "--show-cluster",
       .to = &given.show_cluster,
       .help = "Prints one of the clusters above as TOML, each figure with its source, and does nothing else"},
      {.name = "--costs",
       .to = &given.costs,
       .help = "One cost: name=value, as in --costs train_s=60 --costs mean_tokens=6000; after the trace's",
       .one_at_a_time = true},
      {.name = "--grid",
       .to = &given.grid,
       .help = "One axis: key=value,value,... Every combination of all of them is predicted",
       .one_at_a_time = true},
      given.pipeline.set(),
      {.name = "--best-under",
       .to = &given.best,
       .help = "The fastest point within this bound: staleness_max<=4, wasted_share<0.1, ...",
       .one_at_a_time = true},
      {.name = "--steps", .to = &given.steps, .help = "Steps to simulate; by default those of the file, at most 500"}};
}

} // namespace

command plan_command() {
  const auto given = std::make_shared<plan_arguments>();
  return {.name = "plan",
          .help =
              "Predicts runs before they are run: the run's own scheduler under virtual time, with measured or given "
              "costs",
          .footer = plan_footer + cost_names(),
          .arguments = arguments_of(*given),
          .run = [given] { return run_plan(*given); }};
}

} // namespace millrace::tools
