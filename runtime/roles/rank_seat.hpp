#pragma once

#include "runtime/collective/membership.hpp"
#include "runtime/roles/abilities.hpp"
#include "runtime/roles/job_thread.hpp"
#include "runtime/roles/role_setup.hpp"

#include <exception>
#include <memory>
#include <utility>

namespace millrace::roles {

/// Hands the coordinator's messages about ranks to a `membership`.
class rank_seat : public rank {
public:
  explicit rank_seat(std::shared_ptr<collective::membership> place) : place_(std::move(place)) {}

  void form(const form_ranks& how) override { place_->form(how.generation, static_cast<int>(how.size)); }

  void hear(const rank_word& word) override { place_->hear(word.generation, word.key, word.value); }

  void part(const part_ranks& how) override { place_->part(how.generation, how.why); }

private:
  std::shared_ptr<collective::membership> place_;
};

/// Every rank but the first: it does what the first one says, on a thread of its own.
template <class Core>
class following_rank : public rank_seat {
public:
  /// @param core of the role, with `place` as its ranks
  following_rank(const role_setup& setup, std::shared_ptr<collective::membership> place, std::shared_ptr<Core> core)
      : rank_seat(place), place_(std::move(place)) {
    thread_.post([core = std::move(core), failed = setup.events.failed] {
      try {
        core->follow();
      } catch (const std::exception& failure) {
        failed(failure.what());
      }
    });
  }

  ~following_rank() override { place_->close(); } // the thread is waited for

private:
  std::shared_ptr<collective::membership> place_;
  job_thread thread_;
};

} // namespace millrace::roles
