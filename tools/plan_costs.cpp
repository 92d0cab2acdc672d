#include "tools/plan_costs.hpp"

#include "runtime/input_error.hpp"
#include "runtime/telemetry/metrics.hpp"
#include "runtime/telemetry/trajectories.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <map>
#include <sstream>

namespace millrace::tools {

namespace {

namespace fs = std::filesystem;

/// y = a + b x by least squares, a and b at least 0.
struct line_fit {
  double n = 0, x = 0, y = 0, xx = 0, xy = 0;

  void add(double at, double value, double weight = 1) {
    n += weight;
    x += weight * at;
    y += weight * value;
    xx += weight * at * at;
    xy += weight * at * value;
  }
  std::pair<double, double> solve() const {
    if (n == 0)
      return {0, 0};
    const double spread = n * xx - x * x;
    double b = spread > 1e-9 * n * xx ? (n * xy - x * y) / spread : 0;
    double a = (y - b * x) / n;
    if (b < 0)
      b = 0, a = y / n;
    if (a < 0)
      a = 0, b = xx > 0 ? xy / xx : 0;
    return {a, b};
  }
};

struct stretch {
  double from = 0;
  double until = 0;
};

double overlap(const stretch& one, const std::vector<stretch>& others) {
  double sum = 0;
  for (const auto& other : others)
    sum += std::max(0.0, std::min(one.until, other.until) - std::max(one.from, other.from));
  return one.until > one.from ? sum / (one.until - one.from) : 0;
}

struct decode_span {
  stretch at;
  double tokens = 0;
  double steps = 0;
  double prefill_s = 0;
};

struct spans {
  std::vector<decode_span> decode;
  std::vector<stretch> train;
  std::map<std::string, std::pair<double, int>> others; ///< by the first word of the name: seconds, times
};

spans read_spans(const fs::path& file) {
  std::ifstream in(file);
  if (!in)
    throw input_error(file.string() + ": cannot be read, want the trace of a run (run.trace = true)");
  spans found;
  for (std::string line; std::getline(in, line);) {
    while (!line.empty() && (line.back() == ',' || line.back() == ' '))
      line.pop_back();
    if (line.empty() || line.front() != '{')
      continue;
    const auto span = nlohmann::json::parse(line, nullptr, false);
    if (span.is_discarded() || span.value("ph", "") != "X")
      continue;
    const std::string name = span.value("name", "");
    const stretch at{span.value("ts", 0.0) / 1e6, (span.value("ts", 0.0) + span.value("dur", 0.0)) / 1e6};
    const auto args = span.value("args", nlohmann::json::object());
    if (name == "decode")
      found.decode.push_back({at, args.value("tokens", 0.0), args.value("steps", 0.0), args.value("prefill_s", 0.0)});
    else if (name.starts_with("train"))
      found.train.push_back(at);
    // The first weights of a run are not a publication like the others.
    else if (!name.ends_with(" version 0")) {
      auto& [seconds, times] = found.others[name.substr(0, name.find(' '))];
      seconds += at.until - at.from;
      ++times;
    }
  }
  return found;
}

double mean_of(const spans& all, const std::string& word) {
  const auto found = all.others.find(word);
  return found == all.others.end() || found->second.second == 0 ? 0 : found->second.first / found->second.second;
}

void read_decoding(const spans& all, std::int64_t slots, schedule::workload& costs) {
  line_fit alone, beside;
  double tokens = 0, seconds = 0, prefill = 0;
  std::vector<stretch> decoding;
  for (const auto& one : all.decode) {
    decoding.push_back(one.at);
    const double took = one.at.until - one.at.from - one.prefill_s;
    tokens += one.tokens;
    seconds += took;
    prefill += one.prefill_s;
    if (one.steps <= 0 || one.tokens <= 0 || took <= 0)
      continue;
    const double share = overlap(one.at, all.train);
    if (share < 0.1)
      alone.add(one.tokens / one.steps, took / one.steps, one.steps);
    else if (share > 0.9)
      beside.add(one.tokens / one.steps, took / one.steps, one.steps);
  }
  if (tokens <= 0)
    throw input_error("trace: no token was decoded, want a run that generated");
  costs.decode.clear();
  const auto& base = alone.n > 0 ? alone : beside;
  if (base.n > 0) {
    const auto [a, b] = base.solve();
    costs.decode = {{1, std::max(1e-7, a + b)}, {static_cast<double>(std::max<std::int64_t>(2, slots)), std::max(1e-7, a + b * static_cast<double>(slots))}};
    if (alone.n > 0 && beside.n > 0) {
      double expected = 0;
      expected = a * beside.n + b * beside.x;
      costs.contention = expected > 0 ? std::max(1.0, beside.y / expected) : 1;
    }
  } else {
    costs.tokens_per_s = tokens / seconds / static_cast<double>(slots);
  }
  costs.prefill_s = prefill; // divided by the groups below
  line_fit quiet, busy;
  for (const auto& one : all.train) {
    const double share = overlap(one, decoding);
    (share > 0.5 ? busy : quiet).add(0, one.until - one.from);
  }
  if (quiet.n > 2 && busy.n > 2)
    costs.train_contention = std::max(1.0, (busy.y / busy.n) / (quiet.y / quiet.n));
}

void read_training(const fs::path& folder, schedule::workload& costs) {
  line_fit fit;
  double before = 0;
  for (const auto& row : telemetry::read_metrics(folder / "metrics.jsonl")) {
    const auto total = row.get(telemetry::metric::tokens);
    const auto seconds = row.get(telemetry::metric::timing("train"));
    if (!total || !seconds)
      continue;
    if (row.step > 1) // the first step warms caches up
      fit.add(*total - before, *seconds);
    before = *total;
  }
  const auto [a, b] = fit.solve();
  if (fit.n == 0)
    throw input_error((folder / "metrics.jsonl").string() + ": no step to learn costs from, want a run of at least two");
  const double beside = costs.train_contention;
  costs.train_s = a / beside;
  costs.train_token_s = b / beside;
}

void read_lengths(const fs::path& folder, schedule::workload& costs) {
  std::map<std::uint64_t, std::vector<std::int32_t>> rows;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const auto name = entry.path().filename().string();
    if (!name.starts_with("trajectories-"))
      continue;
    std::istringstream lines(telemetry::read_trajectories(entry.path()));
    for (std::string line; std::getline(lines, line);) {
      const auto row = nlohmann::json::parse(line, nullptr, false);
      if (row.is_discarded() || !row.contains("group") || !row.contains("answers"))
        continue;
      std::vector<std::int32_t> lengths;
      for (const auto& answer : row["answers"])
        lengths.push_back(answer.value("tokens", 0));
      if (!lengths.empty())
        rows.insert_or_assign(row["group"].get<std::uint64_t>(), std::move(lengths));
    }
  }
  if (rows.empty())
    throw input_error(folder.string() + ": no trajectories, want a run with run.trajectories_fraction above 0");
  costs.lengths.clear();
  for (auto& [group, lengths] : rows)
    costs.lengths.push_back(std::move(lengths));
}

void read_csv(const fs::path& file, schedule::workload& costs) {
  std::ifstream in(file);
  if (!in)
    throw input_error(file.string() + ": cannot be read, want tokens of a group's answers in each line");
  costs.lengths.clear();
  int number = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    std::replace(line.begin(), line.end(), ',', ' ');
    std::istringstream words(line);
    std::vector<std::int32_t> lengths;
    for (std::string word; words >> word;) {
      std::int32_t value = 0;
      const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
      if (error != std::errc{} || end != word.data() + word.size() || value < 0)
        throw input_error(file.string() + ":" + std::to_string(number) + ":1: found '" + word + "', want numbers of tokens, at least 0");
      lengths.push_back(value);
    }
    if (!lengths.empty())
      costs.lengths.push_back(std::move(lengths));
  }
  if (costs.lengths.empty())
    throw input_error(file.string() + ": empty, want tokens of a group's answers in each line");
}

template <class Visit> void each_cost(schedule::workload& costs, Visit visit) {
  visit("workers", costs.workers);
  visit("groups_per_worker", costs.groups_per_worker);
  visit("slots", costs.slots);
  visit("answers_per_group", costs.answers_per_group);
  visit("mean_tokens", costs.mean_tokens);
  visit("length_cv", costs.length_cv);
  visit("max_tokens", costs.max_tokens);
  visit("tokens_per_s", costs.tokens_per_s);
  visit("prefill_s", costs.prefill_s);
  visit("resume_token_s", costs.resume_token_s);
  visit("columns_s", costs.columns_s);
  visit("train_s", costs.train_s);
  visit("train_token_s", costs.train_token_s);
  visit("stage_s", costs.stage_s);
  visit("publish_s", costs.publish_s);
  visit("contention", costs.contention);
  visit("train_contention", costs.train_contention);
  visit("checkpoint_s", costs.checkpoint_s);
  visit("worker_life_s", costs.worker_life_s);
  visit("restart_s", costs.restart_s);
  visit("seed", costs.seed);
}

void take(const std::string& text, schedule::workload& costs) {
  const auto equals = text.find('=');
  const auto name = text.substr(0, equals), value = equals == std::string::npos ? "" : text.substr(equals + 1);
  bool known = false;
  std::string names;
  each_cost(costs, [&](const std::string& one, auto& field) {
    names += (names.empty() ? "" : ", ") + one;
    if (one != name)
      return;
    known = true;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), field);
    if (error != std::errc{} || end != value.data() + value.size())
      throw input_error("--costs " + text + ": want a number");
  });
  if (!known)
    throw input_error("--costs " + text + ": no cost '" + name + "', want one of " + names);
}

} // namespace

schedule::workload costs_of(const pipeline::pipeline& p, const plan_costs& from) {
  if (from.trace.empty() && from.given.empty())
    throw input_error("plan: nothing says what anything costs, want --trace RUN, --trace lengths.csv or --costs name=value");
  const auto rollouts = p.of<pipeline::rollout_table>();
  if (rollouts.empty())
    throw input_error(p.file.string() + ": no role of kind \"rollout\", want one to plan for");
  const auto& rollout = std::get<pipeline::rollout_table>(rollouts[0]->options);
  schedule::workload costs;
  costs.workers = 0;
  for (const auto* role : rollouts)
    costs.workers += static_cast<std::uint32_t>(std::max<std::int64_t>(1, p.processes_of(role->name)));
  costs.slots = static_cast<std::uint32_t>(rollout.slots);
  costs.answers_per_group = static_cast<std::uint32_t>(rollout.answers_per_prompt);
  // One more than fit, so that a free slot never waits for a message.
  costs.groups_per_worker = (costs.slots + costs.answers_per_group - 1) / costs.answers_per_group + 1;
  costs.max_tokens = static_cast<double>(rollout.max_new_tokens);
  costs.mean_tokens = costs.max_tokens / 2;
  if (fs::is_directory(from.trace)) {
    const auto recorded = pipeline::read_pipeline(from.trace / "resolved.toml");
    const auto all = read_spans(from.trace / "trace.json");
    const auto slots = std::get<pipeline::rollout_table>(recorded.of<pipeline::rollout_table>().at(0)->options).slots;
    read_decoding(all, slots, costs);
    read_training(from.trace, costs);
    read_lengths(from.trace, costs);
    costs.prefill_s /= static_cast<double>(costs.lengths.size());
    costs.stage_s = mean_of(all, "publish") + mean_of(all, "pull") + mean_of(all, "stage");
    costs.columns_s = mean_of(all, "group");
    costs.checkpoint_s = mean_of(all, "checkpoint");
  } else if (!from.trace.empty()) {
    read_csv(from.trace, costs);
  }
  for (const auto& one : from.given)
    take(one, costs);
  return costs;
}

std::string in_words(const schedule::workload& costs) {
  std::ostringstream text;
  auto copy = costs;
  each_cost(copy, [&](const std::string& name, const auto& field) {
    if (name != "mean_tokens" && name != "length_cv" && name != "seed")
      text << name << '=' << field << ' ';
  });
  for (const auto& one : costs.decode)
    text << "step_s(" << one.occupied << ")=" << one.step_s << ' ';
  auto line = text.str();
  line.pop_back();
  return line;
}

} // namespace millrace::tools
