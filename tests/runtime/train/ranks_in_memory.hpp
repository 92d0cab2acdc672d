#pragma once

#include "runtime/train/team.hpp"

#include <ATen/ATen.h>

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace millrace::tests {

/// The ranks of a learner as threads of one process. Groups come one after another; the exchange that is named loses
/// the group.
class ranks_in_memory {
public:
  explicit ranks_in_memory(int size) : size_(size) {}

  /// The n-th exchange of a rank from now on is lost, on all ranks.
  void lose(int rank, std::int64_t exchanges) {
    const std::lock_guard lock(mutex_);
    loser_ = {rank, exchanges};
  }

  void end() {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    changed_.notify_all();
  }

  int groups() const {
    const std::lock_guard lock(mutex_);
    return generation_ + 1;
  }

  std::shared_ptr<collective::group_source> link(int rank) { return std::make_shared<own_link>(*this, rank); }

private:
  class own_group : public collective::group {
  public:
    own_group(ranks_in_memory& all, int rank, int generation) : all_(all), rank_(rank), generation_(generation) {}

    int rank() const override { return rank_; }

    int size() const override { return all_.size_; }

    void exchange(std::span<const at::Tensor> outgoing, std::span<const at::Tensor> incoming) override {
      all_.exchange(rank_, generation_, outgoing, incoming);
    }

    void abort(const std::string&) override {
      const std::lock_guard lock(all_.mutex_);
      all_.lose_group(generation_);
    }

    std::optional<waiting> waits() const override { return std::nullopt; }

    int generation() const { return generation_; }

  private:
    ranks_in_memory& all_;
    int rank_, generation_;
  };

  class own_link : public collective::group_source {
  public:
    own_link(ranks_in_memory& all, int rank) : all_(all), rank_(rank) {}

    std::shared_ptr<collective::group> group_after(std::shared_ptr<collective::group> last) override {
      const int before = last ? static_cast<const own_group&>(*last).generation() : -1;
      std::unique_lock lock(all_.mutex_);
      all_.changed_.wait(lock, [&] { return all_.ended_ || all_.generation_ > before; });
      if (all_.ended_)
        return nullptr;
      return std::make_shared<own_group>(all_, rank_, all_.generation_);
    }

  private:
    ranks_in_memory& all_;
    int rank_;
  };

  void lose_group(int generation) {
    if (generation == generation_) {
      ++generation_;
      mail_.clear();
      changed_.notify_all();
    }
  }

  void exchange(int rank, int generation, std::span<const at::Tensor> outgoing, std::span<const at::Tensor> incoming) {
    std::unique_lock lock(mutex_);
    if (loser_ && loser_->first == rank && generation == generation_ && --loser_->second == 0) {
      loser_.reset();
      lose_group(generation);
    }
    const auto check = [&] {
      if (ended_ || generation != generation_)
        throw collective::lost("rank " + std::to_string(rank) + " is gone");
    };
    check();
    for (std::size_t to = 0; to < outgoing.size(); ++to)
      if (outgoing[to].defined() && static_cast<int>(to) != rank)
        mail_[{rank, static_cast<int>(to)}].push_back(outgoing[to].clone());
    changed_.notify_all();
    for (std::size_t from = 0; from < incoming.size(); ++from) {
      if (!incoming[from].defined() || static_cast<int>(from) == rank)
        continue;
      const std::pair key{static_cast<int>(from), rank};
      changed_.wait(lock, [&] { return ended_ || generation != generation_ || !mail_[key].empty(); });
      check();
      incoming[from].copy_(mail_[key].front());
      mail_[key].pop_front();
    }
  }

  const int size_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::pair<int, int>, std::deque<at::Tensor>> mail_; ///< by sender and receiver
  std::optional<std::pair<int, std::int64_t>> loser_;
  int generation_ = 0;
  bool ended_ = false;
};

} // namespace millrace::tests
