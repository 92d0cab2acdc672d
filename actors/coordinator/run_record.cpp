#include "actors/coordinator/run_record.hpp"

#include "runtime/columns/column_set.hpp"
#include "runtime/columns/prompt_columns.hpp"
#include "runtime/telemetry/machine.hpp"
#include "runtime/telemetry/waits.hpp"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <utility>

namespace millrace::actors {
namespace {

telemetry::early_stop stop_rules_of(const pipeline::pipeline& p) {
  std::vector<telemetry::stop_rule> rules;
  for (const auto& entry : p.run.stop_when)
    rules.push_back({entry.metric, entry.above, entry.over, entry.patience, entry.best == "highest", entry.min_change});
  return telemetry::early_stop(std::move(rules));
}

/// `reward.<name>`
bool is_part_of_reward(std::string_view name) {
  return name.starts_with(column::prefix_of(column::any_reward.name));
}

/// The columns `reward.<name>` of a group, each with its name.
std::vector<std::pair<std::string, std::span<const float>>> reward_parts(const columns::column_set& columns) {
  std::vector<std::pair<std::string, std::span<const float>>> parts;
  for (const auto& bundle : columns.parts())
    for (const auto& entry : bundle.columns())
      if (is_part_of_reward(entry.spec.name))
        parts.emplace_back(entry.spec.name.substr(column::prefix_of(column::any_reward.name).size()),
                           bundle.view<float>(entry.spec.name));
  return parts;
}

constexpr const char *metrics_name = "metrics.jsonl", *events_name = "TensorBoard's events",
                     *records_name = "replay.jsonl", *trajectories_name = "trajectories", *trace_name = "trace.json",
                     *answers_name = "evaluation_answers.jsonl", *newest_name = "newest_groups.jsonl";

/// The policy's group may lack the last answer, a greedy one.
telemetry::trajectory with_tokens(telemetry::trajectory row, shown_group group) {
  for (std::size_t i = 0; i < std::min(row.answers.size(), group.answers.size()); ++i)
    row.answers[i].shown = std::move(group.answers[i]);
  return row;
}

/// The answers of an evaluation, a line a prompt, each beginning with the role and the version.
std::string evaluation_lines(const std::string& role, const version_evaluated& what) {
  const auto head = "{\"role\":\"" + role + "\",\"version\":" + std::to_string(what.version) + ",";
  std::string lines;
  for (const auto& line : what.answers)
    lines += head + line.substr(1) + '\n'; // past its own brace
  return lines;
}

} // namespace

telemetry::ledger_totals totals_of(const schedule::ledger& books) {
  telemetry::ledger_totals totals;
  totals.generated = books.sums().generated;
  totals.trained = books.trained().tokens;
  totals.live = books.live().tokens;
  if (books.sums().lost > 0)
    totals.dropped.emplace_back("generated again", books.sums().lost);
  for (std::size_t i = 0; i < schedule::drop_reasons; ++i) {
    const auto reason = static_cast<schedule::drop_reason>(i);
    if (books.dropped(reason).tokens > 0)
      totals.dropped.emplace_back(to_string(reason), books.dropped(reason).tokens);
  }
  return totals;
}

transport::wanted_columns trajectory_columns(std::span<const ticket> columns) {
  transport::wanted_columns wanted{.required = column::names(column::prompt, column::prompt_lengths, column::lengths,
                                                             column::text, column::text_lengths, column::version,
                                                             column::finish)};
  for (const auto& ticket : columns)
    for (const auto& spec : ticket.layout)
      if (spec.name == column::reward.name || spec.name == column::answer.name || spec.name == column::data_source.name
          || spec.name == column::episode.name || spec.name == column::episode_lengths.name
          || is_part_of_reward(spec.name))
        wanted.optional.push_back(spec.name);
  return wanted;
}

telemetry::trajectory trajectory_of(group_id group, const columns::column_set& columns) {
  telemetry::trajectory result;
  result.group = group;
  for (const auto& turn : columns::prompt_in(columns))
    result.prompt += (result.prompt.empty() ? "" : "\n") + turn.role + ": " + turn.content;
  const auto words = [&](const auto& name) {
    if (!columns.has(name))
      return std::string();
    const auto view = columns.view(name);
    return std::string(view.begin(), view.end());
  };
  result.ground_truth = words(column::answer);
  result.data_source = words(column::data_source);
  const auto lengths = columns.view(column::lengths);
  const auto texts = columns::by_answer(columns.view(column::text), columns.view(column::text_lengths));
  const auto versions = columns::by_answer(columns.view(column::version), lengths);
  const auto finish = columns.view(column::finish);
  const auto parts = reward_parts(columns);
  std::vector<std::span<const char>> episodes;
  if (columns.has(column::episode))
    episodes = columns::by_answer(columns.view(column::episode), columns.view(column::episode_lengths));
  const bool several = !columns.has(column::reward) && !parts.empty(); // several rewards, and no column that sums them
  const auto reward = several ? std::span<const float>() : columns.view(column::reward);
  for (std::size_t i = 0; i < texts.size(); ++i) {
    telemetry::trajectory_answer answer;
    answer.text.assign(texts[i].begin(), texts[i].end());
    answer.tokens = lengths[i];
    if (!episodes.empty())
      answer.episode.assign(episodes.at(i).begin(), episodes.at(i).end());
    answer.reward = reward.empty() ? std::numeric_limits<double>::quiet_NaN() : reward[i];
    for (const auto& [name, values] : parts)
      answer.rewards.emplace_back(name, values[i]);
    answer.finish = finish[i] == 0 ? "stop" : "length";
    if (!versions[i].empty()) {
      const auto [low, high] = std::minmax_element(versions[i].begin(), versions[i].end());
      answer.version_min = *low;
      answer.version_max = *high;
    }
    result.answers.push_back(std::move(answer));
  }
  return result;
}

run_record::run_record(const pipeline::pipeline& p, const run_files::run_folder& folder, std::int64_t resumed_step,
                       std::int64_t resumed_parts)
    : name_(p.run.name), steps_(p.run.steps), folder_(&folder), metrics_(folder.metrics(), resumed_step),
      step_records_(folder.step_records(), resumed_step, resumed_parts),
      events_(folder.path(), folder.session(), resumed_step, telemetry::wall_s()),
      trajectories_(folder.trajectories(), p.run.trajectories_fraction), line_(telemetry::process_log()),
      best_(folder.checkpoints(), p.run.keep_best, p.run.best == "highest"), early_stop_(stop_rules_of(p)),
      start_s_(telemetry::now_s()), last_step_s_(start_s_), rate_since_s_(start_s_),
      logprob_gap_(std::numeric_limits<double>::quiet_NaN()), step_(resumed_step) {
  if (folder.session() > 1) {
    telemetry::forget_trajectories_after(folder.path(), resumed_step, resumed_parts);
    std::error_code kept;
    std::filesystem::remove(run_files::newest_groups_of(folder.path()), kept); // its steps may be taken back
  }
  if (p.run.trace)
    trace_ = std::make_unique<telemetry::trace_file>(folder.trace(), start_s_);
  for (const auto& row : telemetry::read_metrics(folder.metrics())) {
    early_stop_.seen(row);
    if (telemetry::collect_evaluation(row, evaluations_)) {
      best_.seen(row);
      continue;
    }
    rewards_.push_back(row.get(telemetry::metric::reward).value_or(std::numeric_limits<double>::quiet_NaN()));
    if (const auto gap = row.get(telemetry::metric::logprob_gap))
      logprob_gap_ = std::fmax(logprob_gap_, *gap);
  }
  say_starting();
}

/// So that `millrace status` has something to read from the first moment on.
void run_record::say_starting() {
  auto status = telemetry::read_status(folder_->status()).value_or(telemetry::run_status{});
  elapsed_before_s_ = folder_->session() > 1 ? status.elapsed_s : 0;
  status = {.name = name_,
            .state = "starting",
            .pid = getpid(),
            .written_wall_s = telemetry::wall_s(),
            .elapsed_s = elapsed_before_s_,
            .step = step_,
            .steps = steps_,
            .reward = rewards_.empty() ? 0 : rewards_.back()};
  telemetry::write_status(folder_->status(), status);
}

double run_record::elapsed_s() const {
  return elapsed_before_s_ + telemetry::now_s() - start_s_;
}

void run_record::step_done(std::int64_t step, std::map<std::string, double> figures,
                           const schedule::scheduler& scheduler) {
  namespace metric = telemetry::metric;
  const double now = telemetry::now_s();
  const double step_s = now - std::exchange(last_step_s_, now);
  telemetry::metric_row row;
  row.step = step;
  row.wall_s = telemetry::wall_s();
  // What people look for first stands first; the rest follows by name.
  for (const auto name :
       {metric::reward, metric::reward_std, metric::loss, metric::length_mean, metric::staleness_mean}) {
    const auto found = figures.find(std::string(name));
    if (found != figures.end()) {
      row.set(name, found->second);
      figures.erase(found);
    }
  }
  for (const auto& [name, value] : figures)
    row.set(name, value);
  const auto& books = scheduler.books();
  row.set(metric::time_per_step, step_s);
  row.set(metric::tokens_generated, static_cast<double>(books.sums().generated));
  row.set(metric::prompt_tokens_found, static_cast<double>(prompt_tokens_found_));
  row.set(metric::prompt_tokens_computed, static_cast<double>(prompt_tokens_computed_));
  if (tool_calls_ > 0) {
    row.set(metric::tool_calls, static_cast<double>(tool_calls_));
    row.set(metric::malformed_calls, static_cast<double>(malformed_calls_));
  }
  if (rewritten_histories_ > 0)
    row.set(metric::rewritten_histories, static_cast<double>(rewritten_histories_));
  if (client_tokens_ > 0)
    row.set(metric::client_tokens, static_cast<double>(client_tokens_));
  row.set(metric::version, static_cast<double>(step));
  row.set(metric::generation_rate, tokens_per_s_);
  append(row);
  if (step_ == 0)
    for (const auto& name : early_stop_.missing_in(row))
      telemetry::log_warning("run", "run.stop_when: there is no figure '" + name + "' among those of step 1");
  watch(row);
  step_ = step;
  rewards_.resize(static_cast<std::size_t>(step - 1), std::numeric_limits<double>::quiet_NaN());
  rewards_.push_back(row.get(metric::reward).value_or(std::numeric_limits<double>::quiet_NaN()));
  staleness_ = row.get(metric::staleness_mean).value_or(0);
  if (const auto gap = row.get(metric::logprob_gap))
    logprob_gap_ = std::fmax(logprob_gap_, *gap);
  left_.step_done(now);
  doing_.clear();
  show_progress(scheduler);
}

void run_record::evaluated(const std::string& role, const version_evaluated& what) {
  telemetry::metric_row row;
  row.step = what.version;
  row.wall_s = telemetry::wall_s();
  for (const auto& [name, value] : what.figures)
    row.set(telemetry::metric::evaluation(role, name), value);
  row.set(telemetry::metric::evaluation(role, "tokens"), static_cast<double>(what.tokens));
  row.set(telemetry::metric::evaluation(role, "seconds"), what.seconds);
  if (!what.answers.empty())
    keep_writing(answers_name, [&] { answers_of_evaluations().append(evaluation_lines(role, what)); });
  append(row);
  telemetry::collect_evaluation(row, evaluations_);
  watch(row);
  telemetry::log_info(role, telemetry::in_words(evaluations_.at(role).back()));
}

/// What a disk refuses never ends the training. It is said once; the files keep what they could not write.
void run_record::keep_writing(const std::string& what, const std::function<void()>& write) {
  try {
    write();
    if (refused_.erase(what) > 0)
      telemetry::log_info("run", what + ": the disk takes it again");
  } catch (const run_files::storage_error& error) {
    if (refused_.insert(what).second)
      telemetry::log_warning("run",
                             what + ": " + error.what() + "; training goes on, and it is written when it can be");
  }
}

void run_record::write_waiting() {
  const std::pair<const char*, std::function<void()>> files[] = {
      {metrics_name, [this] { metrics_.write_waiting(); }},
      {events_name, [this] { events_.write_waiting(); }},
      {records_name, [this] { step_records_.write_waiting(); }},
      {trajectories_name, [this] { trajectories_.write_waiting(); }},
      {trace_name, [this] { trace_->write_waiting(); }},
      {answers_name, [this] { answers_of_evaluations().write_waiting(); }},
  };
  for (const auto& [name, write] : files)
    if (refused_.contains(name))
      keep_writing(name, write);
}

run_files::growing_file& run_record::answers_of_evaluations() {
  if (!evaluation_answers_)
    evaluation_answers_.emplace(folder_->path() / answers_name);
  return *evaluation_answers_;
}

void run_record::append(const telemetry::metric_row& row) {
  keep_writing(metrics_name, [&] { metrics_.append(row); });
  keep_writing(events_name, [&] { events_.append(row); });
}

void run_record::watch(const telemetry::metric_row& row) {
  if (auto why = early_stop_.seen(row); stop_reason_.empty())
    stop_reason_ = std::move(why);
  best_.seen(row);
}

void run_record::keep(telemetry::trajectory answers) {
  kept_.insert_or_assign(answers.group, std::move(answers));
}

void run_record::trained(std::int64_t step, std::int64_t part, const std::vector<std::uint64_t>& groups,
                         std::vector<shown_group> shown) {
  std::vector<telemetry::trajectory> newest;
  keep_writing(trajectories_name, [&] {
    for (const auto group : groups)
      if (auto row = kept_.extract(group)) {
        row.mapped().step = step;
        row.mapped().part = part;
        trajectories_.append(row.mapped());
        if (const auto of_group = std::find_if(shown.begin(), shown.end(), [&](auto& s) { return s.group == group; });
            of_group != shown.end())
          newest.push_back(with_tokens(std::move(row.mapped()), std::move(*of_group)));
      }
    trajectories_.flush();
  });
  if (newest.empty())
    return;
  newest_ = std::move(newest);
  if (telemetry::now_s() - newest_written_s_ >= 1)
    write_newest();
}

/// For who watches: once a second, however short the steps are.
void run_record::write_newest() {
  constexpr std::size_t longest = 1 << 20; // bytes; a longer one is in the trajectories
  if (newest_.empty())
    return;
  std::string rows;
  for (const auto& group : std::exchange(newest_, {}))
    if (auto line = telemetry::to_line(group); line.size() <= longest)
      rows += line;
  newest_written_s_ = telemetry::now_s();
  keep_writing(newest_name, [&] { run_files::replace_file(run_files::newest_groups_of(folder_->path()), rows); });
}

void run_record::remember(train::step_record record) {
  record.session = folder_->session();
  keep_writing(records_name, [&] { step_records_.append(train::to_json(record)); });
}

void run_record::forget(std::uint64_t group) {
  kept_.erase(group);
}

void run_record::add_trace(const telemetry::trace_batch& batch, std::int64_t pid, const std::string& process,
                           double clock_offset_s) {
  times_.add(batch.spans, clock_offset_s);
  if (trace_)
    keep_writing(trace_name, [&] { trace_->add(batch, pid, process, clock_offset_s); });
}

void run_record::checkpointed(std::int64_t step, std::filesystem::path folder) {
  keep_writing("checkpoints/best", [&] { best_.stored(step, folder); });
  checkpoint_step_ = step;
  checkpoint_folder_ = std::move(folder);
}

void run_record::say_doing(const std::string& what) {
  doing_ = what;
  telemetry::log_info("run", what);
}

void run_record::show_progress(const schedule::scheduler& scheduler) {
  const double now = telemetry::now_s();
  const auto generated = scheduler.books().sums().generated;
  // Tokens are counted when a group is complete: a rate over less than a few groups would jump. The first one is taken
  // from what there is.
  const double seconds = now - rate_since_s_;
  const auto rate = static_cast<double>(generated - rate_since_tokens_) / seconds;
  if (first_rate_ && seconds > 0 && generated > rate_since_tokens_)
    tokens_per_s_ = rate;
  if (seconds > 5 && generated > rate_since_tokens_) {
    first_rate_ = false;
    tokens_per_s_ = rate;
    rate_since_s_ = now;
    rate_since_tokens_ = generated;
  }
  line_.show({step_, steps_, rewards_.empty() ? std::numeric_limits<double>::quiet_NaN() : rewards_.back(),
              tokens_per_s_, staleness_, left_.seconds(steps_ - step_), doing_},
             now);
}

void run_record::write_status(const schedule::scheduler& scheduler, const std::string& state,
                              std::vector<telemetry::role_status> roles, std::vector<telemetry::lane_status> lanes,
                              std::vector<wait_record> waits) {
  write_waiting();
  write_newest();
  show_progress(scheduler);
  telemetry::run_status status;
  status.name = name_;
  status.state = state;
  status.machine = telemetry::this_machine();
  status.pid = getpid();
  status.written_wall_s = telemetry::wall_s();
  status.elapsed_s = elapsed_s();
  status.left_s = left_.seconds(steps_ - step_);
  status.step = step_;
  status.steps = steps_;
  status.reward = rewards_.empty() ? 0 : rewards_.back();
  status.tokens_per_s = tokens_per_s_;
  status.staleness = staleness_;
  status.checkpoint_step = checkpoint_step_;
  status.roles = std::move(roles);
  status.lanes = std::move(lanes);
  status.waits = telemetry::waits_relative_to(std::move(waits), telemetry::now_s());
  status.ledger = totals_of(scheduler.books());
  for (std::size_t i = 0; i < schedule::group_states; ++i) {
    const auto of_groups = static_cast<schedule::group_state>(i);
    status.groups.emplace_back(to_string(of_groups), scheduler.books().live(of_groups).groups);
  }
  keep_writing("status.json", [&] { telemetry::write_status(folder_->status(), status); });
}

void run_record::close() {
  line_.finish();
  write_waiting();
  write_newest();
}

void run_record::finish(const schedule::scheduler& scheduler, const std::string& outcome) {
  close();
  best_.finish();
  if (outcome == "failed" && step_ == 0)
    return; // no step was trained: the line that says why the run ended is enough
  telemetry::run_summary summary;
  summary.name = name_;
  summary.outcome = outcome == "finished" && !stop_reason_.empty() && step_ < steps_
                        ? "stopped early (" + stop_reason_ + ")"
                        : outcome;
  summary.step = step_;
  summary.steps = steps_;
  summary.elapsed_s = elapsed_s();
  summary.rewards = rewards_;
  summary.evaluations.assign(evaluations_.begin(), evaluations_.end());
  summary.ledger = totals_of(scheduler.books());
  summary.times = times_.rows(telemetry::now_s());
  summary.logprob_gap = logprob_gap_;
  summary.skipped.assign(skipped_.begin(), skipped_.end());
  summary.folder = folder_->path();
  summary.last_checkpoint = checkpoint_folder_;
  if (best_.step())
    summary.best_checkpoint = best_.folder();
  telemetry::process_log().say(in_words(summary));
}

} // namespace millrace::actors
