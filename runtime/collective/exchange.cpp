#include "runtime/collective/exchange.hpp"

#include "runtime/words/no_signals.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <thread>

namespace millrace::collective {
namespace {

std::int64_t bytes_of(const at::Tensor& tensor) {
  return tensor.defined() ? static_cast<std::int64_t>(tensor.nbytes()) : 0;
}

/// "rank 2", "ranks 1 and 2", "ranks 1, 2 and 3".
std::string named(const std::vector<int>& ranks) {
  std::string text = ranks.size() == 1 ? "rank " : "ranks ";
  for (std::size_t i = 0; i < ranks.size(); ++i)
    text += (i == 0 ? "" : i + 1 == ranks.size() ? " and " : ", ") + std::to_string(ranks[i]);
  return text;
}

} // namespace

exchange::exchange(std::string name, gloo_wire& wire, int rank, std::span<const at::Tensor> outgoing,
                   std::span<const at::Tensor> incoming)
    : name_(std::move(name)), wire_(wire), rank_(rank), size_(static_cast<int>(outgoing.size())), outgoing_(outgoing),
      incoming_(incoming),
      since_s_(std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count()),
      talking_(size_ - 1), stages_(outgoing.size(), stage::connecting) {
  stages_[static_cast<std::size_t>(rank)] = stage::gone_well;
}

void exchange::run(std::chrono::milliseconds within, std::chrono::steady_clock::time_point deadline) {
  std::vector<std::thread> threads;
  try {
    const no_signals quiet;
    for (int peer = 0; peer < size_; ++peer)
      if (peer != rank_)
        for (const auto part : {&exchange::listen, &exchange::talk}) {
          threads.emplace_back([this, peer, part] { guarded(peer, part); });
          const std::lock_guard lock(mutex_);
          ++threads_;
        }
  } catch (const std::system_error& error) {
    fail(std::string("no thread for an exchange: ") + error.what());
  }
  bool connecting = false;
  {
    std::unique_lock lock(mutex_);
    const bool in_time = changed_.wait_until(lock, deadline, [this] { return threads_ == 0 || failed_; });
    const auto text = in_time ? std::string() : late(within);
    lock.unlock();
    if (!in_time)
      fail(text);
    lock.lock();
    connecting = failed_ && std::ranges::find(stages_, stage::connecting) != stages_.end();
  }
  if (connecting)
    wire_.give_up_connecting();
  for (auto& thread : threads)
    thread.join();
  const std::lock_guard lock(mutex_); // an abort may come even now
  if (failed_)
    throw lost(*failed_);
}

void exchange::fail(const std::string& why) {
  {
    const std::lock_guard lock(mutex_);
    if (failed_)
      return;
    failed_ = why;
    for (const auto& post : posts_)
      post->cancel();
  }
  changed_.notify_all();
}

group::waiting exchange::waits() const {
  const std::lock_guard lock(mutex_);
  stage where{};
  return {.on = behind(where), .since_s = since_s_};
}

std::vector<int> exchange::behind(stage& where) const {
  where = std::max(*std::ranges::min_element(stages_), stage::coming);
  std::vector<int> found;
  for (int peer = 0; peer < size_; ++peer)
    if (const auto at = stages_[static_cast<std::size_t>(peer)]; at <= where && at != stage::gone_well)
      found.push_back(peer);
  return found;
}

std::string exchange::late(std::chrono::milliseconds within) const {
  stage where{};
  const auto ranks = behind(where);
  const auto time = " within " + std::to_string(within.count()) + " ms";
  if (ranks.empty())
    return "the " + name_ + " has not ended" + time;
  const std::string has = named(ranks) + (ranks.size() == 1 ? " has" : " have");
  if (where == stage::coming)
    return has + " not come to the " + name_ + time;
  if (where == stage::sending)
    return has + " not sent or taken all bytes of the " + name_ + time;
  return has + " not ended the " + name_ + time;
}

void exchange::guarded(int peer, void (exchange::*part)(int)) {
  try {
    (this->*part)(peer);
  } catch (const std::exception& error) {
    fail("rank " + std::to_string(peer) + " is gone: " + plain_words(error.what()));
  }
  const std::lock_guard lock(mutex_);
  --threads_;
  changed_.notify_all();
}

gloo_wire::post& exchange::post(std::unique_ptr<gloo_wire::post> one) {
  const std::lock_guard lock(mutex_);
  posts_.push_back(std::move(one));
  if (failed_)
    posts_.back()->cancel();
  return *posts_.back();
}

void exchange::reached(int peer, stage next) {
  const std::lock_guard lock(mutex_);
  auto& at = stages_[static_cast<std::size_t>(peer)];
  at = std::max(at, next);
}

void exchange::talk(int peer) {
  using kind = gloo_wire::kind;
  const auto& out = outgoing_[static_cast<std::size_t>(peer)];
  const auto& in = incoming_[static_cast<std::size_t>(peer)];
  const auto own = at::tensor({bytes_of(out), bytes_of(in)}, at::kLong), theirs = at::zeros({2}, at::kLong);
  auto& said = post(wire_.send(own, peer, kind::greeting));
  auto& heard = post(wire_.receive(theirs, peer, kind::greeting));
  if (!heard.wait() || !said.wait()) // both, so that both see it if they disagree
    return;
  reached(peer, stage::sending);
  const auto sends = theirs.const_data_ptr<std::int64_t>()[0], expects = theirs.const_data_ptr<std::int64_t>()[1];
  if (sends != bytes_of(in) || expects != bytes_of(out))
    return fail("rank " + std::to_string(peer) + " sends " + std::to_string(sends) + " bytes and expects "
                + std::to_string(expects) + ", where rank " + std::to_string(rank_) + " expects "
                + std::to_string(bytes_of(in)) + " and sends " + std::to_string(bytes_of(out)));
  std::vector<gloo_wire::post*> payload;
  if (sends > 0)
    payload.push_back(&post(wire_.receive(in, peer, kind::payload)));
  if (expects > 0)
    payload.push_back(&post(wire_.send(out, peer, kind::payload)));
  for (auto* const tensor : payload)
    if (!tensor->wait())
      return;
  reached(peer, stage::leaving);
  if (--talking_ == 0)
    take_leave();
}

void exchange::listen(int peer) {
  auto& farewell = post(wire_.receive(at::zeros({1}, at::kByte), peer, gloo_wire::kind::farewell));
  reached(peer, stage::coming);
  if (farewell.wait())
    reached(peer, stage::gone_well);
}

void exchange::take_leave() {
  std::vector<gloo_wire::post*> farewells;
  for (int peer = 0; peer < size_; ++peer)
    if (peer != rank_)
      farewells.push_back(&post(wire_.send(at::zeros({1}, at::kByte), peer, gloo_wire::kind::farewell)));
  for (auto* const farewell : farewells)
    if (!farewell->wait())
      return;
}

} // namespace millrace::collective
