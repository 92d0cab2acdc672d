#include "runtime/collective/membership.hpp"

#include "runtime/access/hmac.hpp"

#include <span>
#include <stdexcept>
#include <utility>

namespace millrace::collective {
namespace {

/// How long after a failed exchange the news that a rank is gone may take.
constexpr std::chrono::seconds news_of_a_death{2};

access::key256 key_of(std::uint32_t generation, const access::key256& ranks) {
  const auto words = "generation " + std::to_string(generation);
  return access::hmac_sha256(ranks, std::as_bytes(std::span(words)));
}

} // namespace

membership::membership(options own, tell to_others, complain of_loss)
    : own_(std::move(own)), to_others_(std::move(to_others)), of_loss_(std::move(of_loss)) {
}

void membership::form(std::uint32_t generation, int size) {
  const std::lock_guard lock(mutex_);
  if (newest_ && newest_->generation >= generation)
    return;
  end_newest("the ranks form a new group");
  newest_ = forming{.generation = generation,
                    .size = size,
                    .words = std::make_shared<rendezvous>([this, generation](std::string key, std::string value) {
                      to_others_(generation, std::move(key), std::move(value));
                    }),
                    .made = nullptr};
  for (const auto& [key, value] : early_[generation])
    newest_->words->told(key, value);
  early_.erase(early_.begin(), early_.upper_bound(generation));
  changed_.notify_all();
}

void membership::hear(std::uint32_t generation, const std::string& key, const std::string& value) {
  const std::lock_guard lock(mutex_);
  if (newest_ && newest_->generation == generation)
    newest_->words->told(key, value);
  else if (!newest_ || newest_->generation < generation)
    early_[generation].emplace_back(key, value);
}

void membership::part(std::uint32_t generation, const std::string& why) {
  const std::lock_guard lock(mutex_);
  if (newest_ && newest_->generation == generation)
    end_newest(why);
}

void membership::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  end_newest("the learner ends");
  changed_.notify_all();
}

/// The mutex is held.
void membership::end_newest(const std::string& why) {
  if (!newest_)
    return;
  newest_->over = true;
  newest_->words->abort(why);
  if (newest_->made)
    newest_->made->abort(why);
  changed_.notify_all();
}

/// The next group to connect, or one that is connected. @param last the generation that was before @returns nothing:
/// closed @throws std::runtime_error
std::optional<membership::forming> membership::wait_for_order(std::unique_lock<std::mutex>& lock,
                                                              std::optional<std::uint32_t> last) {
  const auto is_there = [&] {
    return closed_ || (newest_ && !newest_->over && (!newest_->made || newest_->generation != last));
  };
  if (!own_.leads)
    changed_.wait(lock, is_there);
  else if (!changed_.wait_for(lock, own_.wait_deadline, is_there))
    throw std::runtime_error("the learner's ranks have not all come within "
                             + std::to_string(own_.wait_deadline.count() / 1000) + " s");
  return closed_ ? std::nullopt : newest_;
}

std::shared_ptr<group> membership::group_after(std::shared_ptr<group> last) {
  std::unique_lock lock(mutex_);
  std::optional<std::uint32_t> before;
  if (last && newest_ && newest_->made == last)
    before = newest_->generation;
  const auto failed = [&] { return before && !newest_->over && newest_->generation == before; };
  // If nobody is said to be gone, whoever knows who lives must look, and form another group.
  if (failed() && !changed_.wait_for(lock, news_of_a_death, [&] { return !failed(); })
      && std::exchange(told_lost_, newest_->generation) != newest_->generation)
    of_loss_(newest_->generation, "an exchange failed");
  while (auto next = wait_for_order(lock, before)) {
    if (next->made)
      return next->made;
    lock.unlock();
    last.reset();
    std::shared_ptr<group> made;
    std::string failure;
    try {
      auto ranks = connect_ranks({.rank = own_.rank,
                                  .size = next->size,
                                  .host = own_.host,
                                  .ports = own_.ports,
                                  .key = key_of(next->generation, own_.key),
                                  .connect_deadline = own_.form_deadline,
                                  .exchange_deadline = own_.exchange_deadline},
                                 own_.wire, own_.port.get(), next->words);
      made = std::move(ranks.ranks);
      if (own_.tell_how)
        own_.tell_how(ranks.how);
    } catch (const lost& why) {
      failure = why.what();
    }
    lock.lock();
    const bool newest = newest_ && newest_->generation == next->generation && !newest_->over;
    if (made && newest)
      return newest_->made = made;
    if (!made && newest) { // nobody was said to be gone
      newest_->over = true;
      of_loss_(next->generation, failure);
    }
  }
  return nullptr;
}

} // namespace millrace::collective
