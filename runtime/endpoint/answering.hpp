#pragma once

#include "runtime/endpoint/client_requests.hpp"
#include "runtime/endpoint/stop_guard.hpp"
#include "runtime/openai/completion_request.hpp"
#include "runtime/openai/reply_text.hpp"
#include "runtime/openai/service.hpp"
#include "runtime/text/tokenizer.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace millrace::endpoint {

/// A model that is served.
struct served_model {
  openai::request_defaults defaults;
  std::string name; ///< for clients
  std::shared_ptr<const text::tokenizer> tok;
  /// The tokens of a conversation, the assistant's turn opened. @throws input_error
  /// @param tools that are offered, each as JSON
  std::function<std::vector<std::int32_t>(const std::vector<chat_turn>&, const std::vector<std::string>& tools)>
      encode_chat;
  std::int64_t vocabulary = 0;
  std::int64_t created = 0; ///< seconds since 1970
};

/// One request on its way to its reply. Everything on one thread, the asker's, but what `client_requests` tells.
class answering : public std::enable_shared_from_this<answering> {
public:
  answering(const served_model& model, client_requests& from, openai::completion_request asked, openai::reply_way out);

  /// What is under way is cancelled.
  ~answering();

  answering(const answering&) = delete;
  answering& operator=(const answering&) = delete;

  /// @throws request_error 400 for a prompt that cannot be taken, 429 where too many wait
  void begin();

private:
  struct choice {
    stop_guard guard;
    openai::choice_piece so_far; ///< of a stream, since its last event
    std::size_t tokens = 0;
  };

  std::vector<std::int32_t> tokens_of(const openai::prompt& given) const;
  void take(std::size_t of_prompt, const news& what);
  void take(choice& of, const rollout::drawn_token& token);
  void end(choice& of, rollout::finish_reason how);
  void send(choice& of);
  void finish();

  const served_model& model_;
  client_requests& from_;
  openai::completion_request asked_;
  openai::reply_way out_;
  openai::reply_text text_;
  std::vector<std::vector<std::int32_t>> prompts_;
  std::vector<std::uint64_t> groups_; ///< of the prompts
  std::vector<choice> choices_;
  openai::token_counts counts_;
  std::size_t open_ = 0; ///< choices that have not ended
  bool begun_ = false;   ///< something has gone out
};

} // namespace millrace::endpoint
