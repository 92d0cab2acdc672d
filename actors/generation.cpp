#include "actors/generation.hpp"

#include "actors/column_set.hpp"
#include "runtime/telemetry/trace.hpp"

#include <algorithm>
#include <exception>
#include <stdexcept>
#include <utility>

namespace millrace::actors {
namespace {

/// What answers have for each token, one after another.
struct packed_answers {
  std::vector<std::int32_t> tokens, lengths;
  std::vector<float> logprob;
  std::vector<std::uint32_t> version;
  std::vector<std::uint8_t> finish, recomputed;

  explicit packed_answers(const std::vector<rollout::answer>& answers) {
    for (const auto& answer : answers) {
      tokens.insert(tokens.end(), answer.tokens.begin(), answer.tokens.end());
      logprob.insert(logprob.end(), answer.logprob.begin(), answer.logprob.end());
      version.insert(version.end(), answer.version.begin(), answer.version.end());
      const auto first = recomputed.size();
      recomputed.resize(tokens.size(), 0);
      for (const auto token : answer.recomputed)
        recomputed[first + static_cast<std::size_t>(token)] = 1;
      lengths.push_back(static_cast<std::int32_t>(answer.tokens.size()));
      finish.push_back(static_cast<std::uint8_t>(answer.finish));
    }
  }

  void add_to(transport::bundle_builder& columns) const {
    columns.add("tokens", std::span<const std::int32_t>(tokens))
        .add("logprob", std::span<const float>(logprob))
        .add("version", std::span<const std::uint32_t>(version))
        .add("lengths", std::span<const std::int32_t>(lengths))
        .add("finish", std::span<const std::uint8_t>(finish));
    if (std::find(recomputed.begin(), recomputed.end(), 1) != recomputed.end())
      columns.add("recomputed", std::span<const std::uint8_t>(recomputed));
  }
};

} // namespace

transport::bundle columns_of(const std::vector<std::int32_t>& prompt, const rollout::finished_group& group, std::size_t greedy) {
  const packed_answers packed(group.answers);
  std::vector<std::int32_t> text_lengths;
  std::string text;
  for (const auto& answer : group.answers) {
    text += answer.text;
    text_lengths.push_back(static_cast<std::int32_t>(answer.text.size()));
  }
  const std::vector<std::uint8_t> mask(packed.tokens.size(), 1);
  std::vector<std::uint8_t> is_greedy(group.answers.size(), 0);
  std::fill(is_greedy.end() - static_cast<std::ptrdiff_t>(greedy), is_greedy.end(), 1);
  transport::bundle_builder columns; // copies when it is finished: what is added lives until then
  columns.add("prompt_tokens", std::span<const std::int32_t>(prompt))
      .add("mask", std::span<const std::uint8_t>(mask))
      .add("text", std::span<const char>(text))
      .add("text_lengths", std::span<const std::int32_t>(text_lengths));
  packed.add_to(columns);
  if (greedy > 0)
    columns.add("greedy", std::span<const std::uint8_t>(is_greedy));
  if (!group.kept.empty())
    columns.add("kept", std::span<const std::int32_t>(group.kept));
  return columns.finish();
}

transport::bundle columns_of(const rollout::partial_group& group) {
  const packed_answers packed(group.answers);
  transport::bundle_builder columns;
  columns.add("ended", std::span<const std::uint8_t>(group.ended));
  packed.add_to(columns);
  return columns.finish();
}

rollout::partial_group partial_of(std::uint64_t group, const transport::bundle& columns) {
  const auto lengths = columns.view<std::int32_t>("lengths");
  const auto ended = columns.view<std::uint8_t>("ended"), finish = columns.view<std::uint8_t>("finish");
  const auto tokens = by_answer(columns.view<std::int32_t>("tokens"), lengths);
  const auto logprob = by_answer(columns.view<float>("logprob"), lengths);
  const auto version = by_answer(columns.view<std::uint32_t>("version"), lengths);
  if (ended.size() != lengths.size() || finish.size() != lengths.size())
    throw std::invalid_argument("partial group: want ended and finish of each answer");
  rollout::partial_group out{group, {}, {ended.begin(), ended.end()}};
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    auto& answer = out.answers.emplace_back();
    answer.tokens.assign(tokens[i].begin(), tokens[i].end());
    answer.logprob.assign(logprob[i].begin(), logprob[i].end());
    answer.version.assign(version[i].begin(), version[i].end());
    answer.finish = static_cast<rollout::finish_reason>(finish[i]);
  }
  if (columns.has("recomputed")) {
    const auto recomputed = by_answer(columns.view<std::uint8_t>("recomputed"), lengths);
    for (std::size_t i = 0; i < lengths.size(); ++i)
      for (std::size_t t = 0; t < recomputed[i].size(); ++t)
        if (recomputed[i][t] != 0)
          out.answers[i].recomputed.push_back(static_cast<std::int32_t>(t));
  }
  return out;
}

std::map<std::uint32_t, std::int64_t> tokens_by_version(const std::vector<rollout::answer>& answers, std::size_t greedy) {
  std::map<std::uint32_t, std::int64_t> tokens;
  for (std::size_t i = 0; i + greedy < answers.size(); ++i)
    for (const auto version : answers[i].version)
      ++tokens[version];
  return tokens;
}

std::map<std::uint32_t, std::int64_t> tokens_by_oldest_version(const rollout::finished_group& group, std::size_t greedy) {
  std::map<std::uint32_t, std::int64_t> tokens;
  for (std::size_t i = 0; i + greedy < group.answers.size(); ++i)
    if (const auto& versions = group.answers[i].version; !versions.empty())
      tokens[*std::min_element(versions.begin(), versions.end())] += static_cast<std::int64_t>(versions.size());
  return tokens;
}

std::int64_t greedy_tokens(const rollout::finished_group& group, std::size_t greedy) {
  std::int64_t tokens = 0;
  for (std::size_t i = group.answers.size() - greedy; i < group.answers.size(); ++i)
    tokens += static_cast<std::int64_t>(group.answers[i].tokens.size());
  return tokens;
}

generation::generation(std::string track, std::shared_ptr<const model::tokenizer> tok, rollout::engine_options options,
                       events on)
    : track_(std::move(track)), tok_(std::move(tok)), options_(options), on_(std::move(on)) {
  thread_ = std::thread([this] { run(); });
}

generation::~generation() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  arrived_.notify_all();
  thread_.join();
}

void generation::submit(rollout::group_request group, std::uint32_t attempt, std::optional<rollout::partial_group> so_far) {
  {
    const std::lock_guard lock(mutex_);
    submitted_.push_back({std::move(group), attempt, std::move(so_far)});
    ++open_groups_;
  }
  arrived_.notify_all();
}

void generation::cancel(std::uint64_t group) {
  {
    const std::lock_guard lock(mutex_);
    // Only what was submitted before: a later attempt of the group may follow.
    open_groups_ -= std::erase_if(submitted_, [&](const auto& entry) { return entry.request.group == group; });
    cancelled_.push_back(group);
  }
  arrived_.notify_all();
}

void generation::interrupt(std::uint64_t group, std::uint32_t attempt) {
  {
    const std::lock_guard lock(mutex_);
    interrupted_.emplace_back(group, attempt);
  }
  arrived_.notify_all();
}

void generation::stage(std::shared_ptr<const model::decoder> policy, std::uint32_t version, flip_mode how) {
  {
    const std::lock_guard lock(mutex_);
    staged_ = staged_weights{std::move(policy), version, how};
  }
  arrived_.notify_all();
}

std::size_t generation::groups() const {
  const std::lock_guard lock(mutex_);
  return open_groups_;
}

std::int64_t generation::sampled_tokens() const {
  const std::lock_guard lock(mutex_);
  return sampled_tokens_;
}

void generation::flip(staged_weights next) {
  if (engine_)
    engine_->stage(std::move(next.policy), next.version,
                   next.how == flip_mode::recompute ? rollout::running_cache::recompute : rollout::running_cache::keep);
  else
    engine_.emplace(std::move(next.policy), tok_, next.version, options_);
  on_.flipped(next.version);
}

bool generation::take_in() {
  std::optional<staged_weights> next;
  std::vector<submission> submitted, given_back;
  std::vector<std::uint64_t> cancelled;
  std::vector<std::pair<std::uint64_t, std::uint32_t>> interrupted;
  {
    std::unique_lock lock(mutex_);
    const auto can_flip = [this] { return staged_ && (!engine_ || staged_->how != flip_mode::when_idle || engine_->idle()); };
    const auto can_go_on = [&] {
      return closing_ || can_flip() || !cancelled_.empty() || !interrupted_.empty()
             || (engine_ && (!engine_->idle() || (!submitted_.empty() && !staged_)));
    };
    if (!can_go_on()) {
      telemetry::timed idle(telemetry::process_trace(), track_, "no group to decode",
                            engine_ ? telemetry::cause::wait_input : telemetry::cause::wait_weights);
      arrived_.wait(lock, can_go_on);
    }
    if (closing_)
      return false;
    if (can_flip())
      next = std::exchange(staged_, std::nullopt);
    cancelled.swap(cancelled_);
    interrupted.swap(interrupted_);
    // Groups that came behind weights which wait for the engine to drain begin under those weights.
    if ((engine_ || next) && !staged_) {
      submitted.assign(std::make_move_iterator(submitted_.begin()), std::make_move_iterator(submitted_.end()));
      submitted_.clear();
    }
    for (const auto& [group, attempt] : interrupted) {
      const auto waits = std::find_if(submitted_.begin(), submitted_.end(),
                                      [&](const auto& entry) { return entry.request.group == group && entry.attempt == attempt; });
      if (waits == submitted_.end())
        continue;
      given_back.push_back(std::move(*waits));
      submitted_.erase(waits);
      --open_groups_;
    }
  }
  if (next)
    flip(std::move(*next));
  for (const auto group : cancelled)
    drop(group);
  for (auto& [request, attempt, so_far] : submitted) {
    drop(request.group); // a later attempt takes the place of an earlier one
    running_[request.group] = {attempt, request.prompt};
    engine_->admit(std::move(request), std::move(so_far));
  }
  for (auto& [request, attempt, so_far] : given_back)
    on_.interrupted(attempt, std::move(so_far).value_or(rollout::partial_group{request.group, {}, {}}));
  for (const auto& [group, attempt] : interrupted)
    hand_over(group, attempt);
  return true;
}

void generation::hand_over(std::uint64_t group, std::uint32_t attempt) {
  const auto found = running_.find(group);
  if (found == running_.end() || found->second.attempt != attempt)
    return;
  running_.erase(found);
  {
    const std::lock_guard lock(mutex_);
    --open_groups_;
  }
  on_.interrupted(attempt, engine_->interrupt(group).value());
}

void generation::drop(std::uint64_t group) {
  if (!engine_ || !engine_->cancel(group))
    return;
  running_.erase(group);
  const std::lock_guard lock(mutex_);
  --open_groups_;
}

void generation::run() {
  try {
    while (take_in()) {
      if (engine_ && static_cast<std::size_t>(engine_->groups()) != running_.size())
        throw std::logic_error("the engine works on " + std::to_string(engine_->groups()) + " groups, it was given " + std::to_string(running_.size()));
      if (!engine_ || engine_->idle())
        continue;
      // One span for many steps: a step is a few milliseconds.
      telemetry::timed decoding(telemetry::process_trace(), track_, "decode", telemetry::cause::compute);
      const double until = telemetry::now_s() + 0.1;
      std::int64_t sampled = 0;
      std::int64_t steps = 0;
      double prefill_s = 0;
      bool interrupted = false;
      while (!engine_->idle() && !interrupted && telemetry::now_s() < until) {
        auto finished = engine_->step();
        sampled += engine_->last_step().sampled_tokens;
        steps += engine_->last_step().sampled_tokens > 0;
        prefill_s += engine_->last_step().prefill_s;
        for (auto& group : finished) {
          const auto entry = running_.extract(group.group);
          on_.finished(entry.mapped().attempt, entry.mapped().prompt, std::move(group));
        }
        const std::lock_guard lock(mutex_);
        open_groups_ -= finished.size();
        sampled_tokens_ += engine_->last_step().sampled_tokens;
        interrupted = closing_ || staged_ || !submitted_.empty() || !cancelled_.empty() || !interrupted_.empty();
      }
      decoding.arg("tokens", static_cast<double>(sampled));
      decoding.arg("steps", static_cast<double>(steps));
      decoding.arg("prefill_s", prefill_s);
    }
  } catch (const std::exception& error) {
    on_.failed(error.what());
  }
}

} // namespace millrace::actors
