#include "actors/protocol/actor.hpp"

#include "actors/protocol/caf_address.hpp"
#include "actors/protocol/caf_envelope.hpp"
#include "actors/protocol/refusal_of.hpp"
#include "actors/protocol/system.hpp"

#include <caf/actor_clock.hpp>
#include <caf/actor_system.hpp>
#include <caf/event_based_actor.hpp>
#include <caf/exit_reason.hpp>
#include <caf/send.hpp>

#include <exception>
#include <map>
#include <optional>
#include <set>
#include <vector>

namespace millrace::actors {
namespace {

/// Runs in the context of the actor it is sent to. Never leaves the process.
struct continuation {
  std::function<void()> run;
};

caf::error error_with(std::string line) {
  return caf::make_error(caf::sec::runtime_error, std::move(line));
}

/// A request that waits for its answer.
class kept_request : public open_request {
public:
  kept_request(weak_address actor, caf::typed_response_promise<envelope> promise)
      : actor_(std::move(actor)),
        promise_(std::make_shared<caf::typed_response_promise<envelope>>(std::move(promise))) {}

  void answer(envelope what) override {
    continue_in(actor_, [promise = promise_, what = std::move(what)]() mutable { promise->deliver(std::move(what)); });
  }

  void refuse(std::string line) override {
    continue_in(actor_, [promise = promise_, line = std::move(line)]() mutable {
      promise->deliver(error_with(std::move(line)));
    });
  }

private:
  weak_address actor_;
  std::shared_ptr<caf::typed_response_promise<envelope>> promise_;
};

class caf_side : public caf::event_based_actor, public actor {
public:
  using time_point = caf::actor_clock::time_point;

  caf_side(caf::actor_config& config, std::string name, setup how)
      : caf::event_based_actor(config), name_(std::move(name)), setup_(std::move(how)) {}

  const char* name() const override { return name_.c_str(); }

  caf::behavior make_behavior() override {
    set_down_handler([this](caf::down_msg& down) { is_down(down.source); });
    in_ = std::make_unique<inbox>();
    std::exchange(setup_, {})(*this, *in_);
    return {[this](const envelope& what) { return take(what); }};
  }

  void on_exit() override {
    in_.reset();
    watched_.clear();
  }

  // -- actor ---------------------------------------------------------------------------------------

  millrace::address me() override { return address_of(caf::actor_cast<caf::strong_actor_ptr>(this)); }

  void after(std::chrono::milliseconds time, std::function<void()> then) override {
    // Without a sender: CAF sends what a handler returns back to whoever sent the message, also where nobody asked.
    caf::delayed_anon_send(caf::actor_cast<caf::actor>(this), time, envelope::of(continuation{std::move(then)}));
  }

  void watch(const millrace::address& who, std::function<void()> gone) override {
    const auto other = caf_actor(who);
    const bool first = !watched_.contains(other->address());
    watched_[other->address()].push_back(std::move(gone));
    if (first)
      monitor(caf::actor_cast<caf::actor>(other));
  }

  millrace::address start(const std::string& name, setup how) override {
    return start_in(system(), name, std::move(how));
  }

  void quit() override { caf::event_based_actor::quit(); }

private:
  void send_request(const millrace::address& whom, envelope what, std::chrono::milliseconds deadline,
                    std::function<void(const envelope&)> answered, std::type_index wanted,
                    std::function<void(const refusal&)> refused) override {
    const auto asked = request(caf::actor_cast<caf::actor>(caf_actor(whom)), caf::infinite, std::move(what));
    const auto due = std::pair(clock().now() + deadline, asked.id());
    deadlines_.insert(due);
    look_at_deadlines();
    asked.then(
        [this, due, answered = std::move(answered), refused, wanted](const envelope& answer) {
          deadlines_.erase(due);
          guarded([&] {
            if (answer.type() == wanted)
              answered(answer);
            else
              refused({.line = "an answer of another type than this version expects"});
          });
        },
        [this, due, refused](const caf::error& error) {
          deadlines_.erase(due);
          guarded([&] { refused(refusal_of(error)); });
        });
  }

  /// Wakes this actor at the first deadline, unless it wakes before that anyway. CAF would set a timer for every
  /// request, and its clock's thread would wake for each.
  void look_at_deadlines() {
    if (deadlines_.empty() || deadlines_.begin()->first >= wakes_at_)
      return;
    wakes_at_ = deadlines_.begin()->first;
    after(std::chrono::ceil<std::chrono::milliseconds>(wakes_at_ - clock().now()), [this, at = wakes_at_] {
      if (at == wakes_at_) // else an earlier one has been set since
        end_overdue();
    });
  }

  /// Requests whose deadline is over are answered as CAF answers them.
  void end_overdue() {
    wakes_at_ = time_point::max();
    while (!deadlines_.empty() && deadlines_.begin()->first <= clock().now())
      eq_impl(deadlines_.extract(deadlines_.begin()).value().second, ctrl(), context(),
              caf::make_error(caf::sec::request_timeout));
    look_at_deadlines();
  }

  caf::result<envelope> take(const envelope& what) {
    if (const auto* rest = what.as<continuation>()) {
      guarded(rest->run);
      return envelope();
    }
    const auto* handle = in_ ? in_->find(what.type()) : nullptr;
    if (!handle)
      return error_with(name_ + " takes no such message");
    std::optional<caf::typed_response_promise<envelope>> promise;
    const inbox::keeper keep = [&] {
      promise.emplace(make_response_promise<envelope>());
      return std::make_shared<kept_request>(weak(), *promise);
    };
    const bool asked = current_mailbox_element()->mid.is_request();
    try {
      auto answer = (*handle)(what, keep);
      if (promise)
        return std::move(*promise);
      return answer;
    } catch (const std::exception& failure) {
      if (asked && promise)
        promise->deliver(error_with(failure.what()));
      else if (asked)
        return error_with(failure.what());
      else if (!in_ || !in_->exception_handler())
        throw;
      else
        in_->exception_handler()(failure.what());
    }
    return promise ? caf::result<envelope>(std::move(*promise)) : caf::result<envelope>(envelope());
  }

  template <class Work>
  void guarded(Work&& work) {
    try {
      work();
    } catch (const std::exception& failure) {
      if (!in_ || !in_->exception_handler())
        throw;
      in_->exception_handler()(failure.what());
    }
  }

  void is_down(const caf::actor_addr& who) {
    const auto found = watched_.extract(who);
    if (found)
      for (const auto& gone : found.mapped())
        guarded(gone);
  }

  std::string name_;
  setup setup_;
  std::unique_ptr<inbox> in_;
  std::map<caf::actor_addr, std::vector<std::function<void()>>> watched_;
  std::set<std::pair<time_point, caf::message_id>> deadlines_; ///< of open requests
  time_point wakes_at_ = time_point::max();                    ///< to look at them
};

} // namespace

weak_address::weak_address(const address& of) {
  if (of)
    where_ = std::make_shared<caf::weak_actor_ptr>(caf::actor_cast<caf::weak_actor_ptr>(caf_actor(of)));
}

address weak_address::lock() const {
  return where_ ? address_of(static_cast<const caf::weak_actor_ptr*>(where_.get())->lock()) : address();
}

void post(const address& to, envelope what) {
  if (to)
    caf::anon_send(caf::actor_cast<caf::actor>(caf_actor(to)), std::move(what));
}

void continue_in(const weak_address& actor, std::function<void()> rest) {
  post(actor.lock(), envelope::of(continuation{std::move(rest)}));
}

void end_actor(const address& who) {
  if (who)
    caf::anon_send_exit(caf::actor_cast<caf::actor>(caf_actor(who)), caf::exit_reason::user_shutdown);
}

address start_in(caf::actor_system& system, const std::string& name, actor::setup how) {
  return address_of(caf::actor_cast<caf::strong_actor_ptr>(system.spawn<caf_side>(name, std::move(how))));
}

} // namespace millrace::actors
