#include "runtime/roles/decode_loop.hpp"

#include "runtime/telemetry/trace.hpp"

#include <algorithm>
#include <exception>
#include <stdexcept>
#include <utility>

namespace millrace::roles {

decode_loop::decode_loop(std::string track, std::shared_ptr<const text::tokenizer> tok, rollout::engine_options options,
                         events on, interrupt_granularity cuts, std::int32_t answers_of_clients)
    : track_(std::move(track)), tok_(std::move(tok)), options_(options), on_(std::move(on)), cuts_(cuts),
      clients_({.answers = answers_of_clients, .before_others = true}, [this] {
        { const std::lock_guard lock(mutex_); } // between the loop's look and its wait nothing may come
        arrived_.notify_all();
      }) {
  thread_ = std::thread([this] { run(); });
}

decode_loop::~decode_loop() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  arrived_.notify_all();
  thread_.join();
}

void decode_loop::submit(rollout::group_request group, std::uint32_t attempt,
                         std::optional<rollout::partial_group> so_far) {
  {
    const std::lock_guard lock(mutex_);
    submitted_.push_back({std::move(group), attempt, std::move(so_far)});
    ++open_groups_;
  }
  arrived_.notify_all();
}

void decode_loop::cancel(std::uint64_t group) {
  {
    const std::lock_guard lock(mutex_);
    // Only what was submitted before: a later attempt of the group may follow.
    open_groups_ -= std::erase_if(submitted_, [&](const auto& entry) { return entry.request.group == group; });
    cancelled_.push_back(group);
  }
  arrived_.notify_all();
}

void decode_loop::interrupt(std::uint64_t group, std::uint32_t attempt) {
  {
    const std::lock_guard lock(mutex_);
    interrupted_.push_back({{group, attempt}, {}});
  }
  arrived_.notify_all();
}

void decode_loop::give_up(std::uint64_t group, std::uint32_t attempt, std::string why) {
  {
    const std::lock_guard lock(mutex_);
    interrupted_.push_back({{group, attempt}, std::move(why)});
  }
  arrived_.notify_all();
}

void decode_loop::reply(std::uint32_t attempt, const rollout::ended_turn& turn, rollout::turn_reply what) {
  {
    const std::lock_guard lock(mutex_);
    replies_.push_back({attempt, turn, std::move(what)});
  }
  arrived_.notify_all();
}

void decode_loop::hand_over_weights(std::shared_ptr<const model::decoder> policy, std::uint32_t version, flip_time when,
                                    kv_on_flip cache) {
  {
    const std::lock_guard lock(mutex_);
    next_ = next_weights{.policy = std::move(policy), .version = version, .when = when, .cache = cache};
  }
  arrived_.notify_all();
}

std::size_t decode_loop::groups() const {
  const std::lock_guard lock(mutex_);
  return open_groups_;
}

std::int64_t decode_loop::sampled_tokens() const {
  const std::lock_guard lock(mutex_);
  return sampled_tokens_;
}

std::int64_t decode_loop::take_client_tokens() {
  const std::lock_guard lock(mutex_);
  return std::exchange(client_tokens_, 0);
}

void decode_loop::flip(next_weights next) {
  if (engine_)
    engine_->hand_over_weights(std::move(next.policy), next.version, next.cache);
  else
    engine_.emplace(std::move(next.policy), tok_, next.version, options_);
  on_.flipped(next.version);
}

bool decode_loop::can_flip() const {
  if (!next_ || !engine_ || running_.empty())
    return next_.has_value();
  return next_->when == flip_time::in_flight && (!flips_between_turns() || !has_slots());
}

bool decode_loop::has_slots() const {
  return std::ranges::any_of(running_, [this](const auto& one) { return engine_->has_slot(one.first); });
}

bool decode_loop::flips_between_turns() const {
  return next_ && next_->when == flip_time::in_flight && cuts_ == interrupt_granularity::turn;
}

bool decode_loop::can_go_on() const {
  return closing_ || can_flip() || !cancelled_.empty() || !interrupted_.empty() || !replies_.empty()
         || !ending_turns_.empty()
         || (engine_ && (!engine_->waits() || (!submitted_.empty() && !next_) || clients_.has_new()));
}

std::optional<decode_loop::arrivals> decode_loop::next_arrivals() {
  arrivals came;
  std::unique_lock lock(mutex_);
  if (!can_go_on()) {
    const bool plays = !running_.empty();
    telemetry::timed idle(telemetry::process_trace(), track_,
                          plays ? "every answer waits for its environment" : "no group to decode",
                          engine_ ? telemetry::cause::wait_input : telemetry::cause::wait_weights);
    arrived_.wait(lock, [this] { return can_go_on(); });
  }
  if (closing_)
    return std::nullopt;
  if (can_flip())
    came.weights = std::exchange(next_, std::nullopt);
  came.flips_between_turns = flips_between_turns();
  came.cancelled.swap(cancelled_);
  came.interrupted.swap(interrupted_);
  came.replies.swap(replies_);
  // Groups that came behind weights which wait for the engine to drain begin under those weights.
  if ((engine_ || came.weights) && !next_) {
    came.submitted.assign(std::make_move_iterator(submitted_.begin()), std::make_move_iterator(submitted_.end()));
    submitted_.clear();
  }
  for (const auto& asked : came.interrupted) {
    const auto waits = std::find_if(submitted_.begin(), submitted_.end(), [&](auto& entry) {
      return entry.request.group == asked.what.group && entry.attempt == asked.what.attempt;
    });
    if (waits == submitted_.end())
      continue;
    came.given_back.emplace_back(std::move(*waits), asked.why);
    submitted_.erase(waits);
    --open_groups_;
  }
  return came;
}

bool decode_loop::take_in() {
  auto came = next_arrivals();
  if (!came)
    return false;
  if (came->weights)
    flip(std::move(*came->weights));
  if (engine_)
    engine_->give_slots(!came->flips_between_turns);
  for (const auto group : came->cancelled)
    drop(group);
  for (auto& [request, attempt, so_far] : came->submitted) {
    drop(request.group); // a later attempt takes the place of an earlier one
    running_[request.group] = {attempt, request.prompt};
    engine_->admit(std::move(request), std::move(so_far));
  }
  for (auto& [given_back, why] : came->given_back)
    on_.interrupted(given_back.attempt,
                    std::move(given_back.so_far).value_or(rollout::partial_group{given_back.request.group, {}, {}}),
                    why);
  for (auto& asked : came->interrupted)
    if (asked.why.empty() && cuts_ == interrupt_granularity::turn)
      ending_turns_.push_back(std::move(asked));
    else
      hand_over(asked);
  hand_over_between_turns();
  if (engine_)
    clients_.hand_over(*engine_);
  for (const auto& reply : came->replies)
    go_on(reply);
  note_reply_wait();
  return true;
}

void decode_loop::go_on(const arrived_reply& reply) {
  const auto found = running_.find(reply.turn.group);
  if (found != running_.end() && found->second.attempt == reply.attempt)
    engine_->go_on(reply.turn.group, reply.turn.answer, reply.what);
}

void decode_loop::tell_turns() {
  for (const auto& turn : engine_->last_turns())
    on_.turn_ended(running_.at(turn.group).attempt, turn);
}

void decode_loop::hand_over(const stop& asked) {
  const auto [group, attempt] = asked.what;
  const auto found = running_.find(group);
  if (found == running_.end() || found->second.attempt != attempt)
    return;
  running_.erase(found);
  {
    const std::lock_guard lock(mutex_);
    --open_groups_;
  }
  on_.interrupted(attempt, engine_->interrupt(group).value(), asked.why);
}

void decode_loop::hand_over_between_turns() {
  std::erase_if(ending_turns_, [this](const stop& asked) {
    const auto found = running_.find(asked.what.group);
    const bool here = found != running_.end() && found->second.attempt == asked.what.attempt;
    if (here && engine_->withhold_slots(asked.what.group))
      return false;
    hand_over(asked);
    return true;
  });
}

void decode_loop::drop(std::uint64_t group) {
  if (!engine_ || !engine_->cancel(group))
    return;
  running_.erase(group);
  const std::lock_guard lock(mutex_);
  --open_groups_;
}

void decode_loop::decode() {
  // One span for many steps: a step is a few milliseconds.
  telemetry::timed decoding(telemetry::process_trace(), track_, "decode", telemetry::cause::compute);
  const double until = telemetry::now_s() + 0.1;
  std::int64_t sampled = 0, of_clients = 0;
  std::int64_t steps = 0;
  double prefill_s = 0;
  std::int32_t parked = 0;
  bool interrupted = false;
  while (!engine_->waits() && !interrupted && telemetry::now_s() < until) {
    auto finished = engine_->step();
    const auto clients_drew = clients_.tell_of_step(*engine_, finished);
    std::erase_if(finished, [](const auto& group) { return endpoint::client_requests::is_one(group.group); });
    const auto drew = engine_->last_step().sampled_tokens - clients_drew;
    sampled += drew;
    of_clients += clients_drew;
    steps += drew > 0;
    prefill_s += engine_->last_step().prefill_s;
    parked = std::max(parked, engine_->last_step().parked);
    note_cache_wait(engine_->last_step().parked);
    tell_turns();
    for (auto& group : finished) {
      const auto entry = running_.extract(group.group);
      on_.finished(entry.mapped().attempt, entry.mapped().prompt, std::move(group));
    }
    const std::lock_guard lock(mutex_);
    open_groups_ -= finished.size();
    sampled_tokens_ += drew;
    client_tokens_ += clients_drew;
    interrupted = closing_ || next_ || !submitted_.empty() || !cancelled_.empty() || !interrupted_.empty()
                  || !replies_.empty() || !ending_turns_.empty() || clients_.has_new();
  }
  decoding.arg("tokens", static_cast<double>(sampled));
  decoding.arg("steps", static_cast<double>(steps));
  decoding.arg("prefill_s", prefill_s);
  if (of_clients > 0)
    decoding.arg("client_tokens", static_cast<double>(of_clients));
  if (parked > 0)
    decoding.arg("waits_for_cache", parked);
}

void decode_loop::note_cache_wait(std::int32_t parked) {
  if (parked == (cache_wait_ ? cache_wait_->parked : 0))
    return;
  const double since_s = cache_wait_ ? cache_wait_->since_s : telemetry::now_s();
  if (cache_wait_)
    telemetry::process_waits().end(cache_wait_->key);
  cache_wait_.reset();
  if (parked == 0)
    return;
  const std::string what = parked == 1 ? "1 answer" : std::to_string(parked) + " answers";
  cache_wait_ = {
      .since_s = since_s,
      .parked = parked,
      .key = telemetry::process_waits().begin(
          {.who = track_, .what = "room in the cache for " + what, .since_s = since_s, .kind = wait_kind::cache})};
}

void decode_loop::note_reply_wait() {
  const bool waits = engine_ && engine_->waits() && !running_.empty();
  if (waits == reply_wait_.has_value())
    return;
  if (!waits) {
    telemetry::process_waits().end(*std::exchange(reply_wait_, {}));
    return;
  }
  const auto groups = running_.size();
  reply_wait_ = telemetry::process_waits().begin(
      {.who = track_,
       .what = "what environments say to the turns of " + std::to_string(groups) + (groups == 1 ? " group" : " groups"),
       .since_s = telemetry::now_s(),
       .kind = wait_kind::replies});
}

void decode_loop::run() {
  try {
    while (take_in()) {
      if (engine_ && static_cast<std::size_t>(engine_->groups()) != running_.size() + clients_.in_engine())
        throw std::logic_error("the engine works on " + std::to_string(engine_->groups()) + " groups, it was given "
                               + std::to_string(running_.size() + clients_.in_engine()));
      if (engine_ && !engine_->waits())
        decode();
      note_reply_wait();
      if (engine_ && engine_->idle())
        note_cache_wait(0);
    }
  } catch (const std::exception& error) {
    clients_.close(std::string("generation ended: ") + error.what());
    on_.failed(error.what());
  }
  note_cache_wait(0);
  if (reply_wait_)
    telemetry::process_waits().end(*reply_wait_);
}

} // namespace millrace::roles
