#pragma once

#include "actors/protocol/envelope.hpp"

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <type_traits>
#include <typeindex>
#include <utility>

namespace millrace::actors {

/// A request that is not answered yet. Made by an actor; may be answered from any thread.
class open_request {
public:
  virtual ~open_request() = default;
  virtual void answer(envelope what) = 0;
  virtual void refuse(std::string line) = 0;
};

/// The answer to a request that takes time. Copies stand for the same request, which is answered once: by `operator()`
/// or by `refuse`, on any thread. What is answered after the actor has ended is dropped.
template <class Answer>
class reply {
public:
  explicit reply(std::shared_ptr<open_request> request) : request_(std::move(request)) {}

  void operator()(Answer answer) const { request_->answer(envelope::of(std::move(answer))); }

  void refuse(std::string line) const { request_->refuse(std::move(line)); }

private:
  std::shared_ptr<open_request> request_;
};

/// What an actor does with messages: one handler for each type.
///
///     inbox in;
///     in.on<cancel_group>([&](const cancel_group& what) { ... });                      // told
///     in.on<take_prompt>([&](const take_prompt& ask) { return prompt_row{...}; });     // asked, answered at once
///     in.on<train_batch>([&](const train_batch& ask, reply<batch_report> done) {...}); // asked, answered later
///
/// What a handler of a request throws is the line that the asker gets. What any other handler throws goes to
/// `on_exception`, or ends the actor.
class inbox {
public:
  /// Makes the request at hand one that is answered later.
  using keeper = std::function<std::shared_ptr<open_request>()>;
  using handler = std::function<envelope(const envelope&, const keeper&)>;

  template <class Message, class Handler>
  void on(Handler handle) {
    handlers_.insert_or_assign(typeid(Message), wrap<Message>(std::move(handle)));
  }

  /// @param handle called with the line of what a handler threw; the actor goes on
  void on_exception(std::function<void(const std::string& line)> handle) { on_exception_ = std::move(handle); }

  const handler* find(std::type_index type) const {
    const auto found = handlers_.find(type);
    return found == handlers_.end() ? nullptr : &found->second;
  }

  template <class Message>
  bool takes() const {
    return handlers_.contains(typeid(Message));
  }

  const std::function<void(const std::string&)>& exception_handler() const { return on_exception_; }

private:
  template <class Message, class Handler>
  static handler wrap(Handler handle) {
    if constexpr (std::is_invocable_v<Handler, const Message&>) {
      using result = std::invoke_result_t<Handler, const Message&>;
      return [handle = std::move(handle)](const envelope& what, const keeper&) mutable {
        if constexpr (std::is_void_v<result>) {
          handle(*what.as<Message>());
          return envelope();
        } else {
          return envelope::of<result>(handle(*what.as<Message>()));
        }
      };
    } else {
      return [handle = std::move(handle)](const envelope& what, const keeper& keep) mutable {
        handle(*what.as<Message>(), any_reply{keep()});
        return envelope();
      };
    }
  }

  /// Becomes the `reply<Answer>` that the handler takes.
  struct any_reply {
    std::shared_ptr<open_request> request;

    template <class Answer>
    operator reply<Answer>() const { // NOLINT: implicit on purpose, the handler's parameter says which
      return reply<Answer>(request);
    }
  };

  std::map<std::type_index, handler> handlers_;
  std::function<void(const std::string&)> on_exception_;
};

} // namespace millrace::actors
