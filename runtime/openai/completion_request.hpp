#pragma once

#include "runtime/rollout/sampling.hpp"
#include "runtime/text/chat_template.hpp"
#include "runtime/words/chat_turn.hpp"
#include "runtime/words/input_error.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace millrace::openai {

/// A request that cannot be served: a status of HTTP, one line, and the field that it is about.
struct request_error : input_error {
  request_error(int with_status, const std::string& why, std::string about = {})
      : input_error(why), status(with_status), field(std::move(about)) {}

  int status;
  std::string field;
};

/// What the model's owner has set for requests that do not say it.
struct request_defaults {
  std::string model; ///< the name under which it is served; "": any name will do
  double temperature = 1, top_p = 1;
  int top_k = 0;
  std::vector<std::int32_t> end_tokens;                 ///< that end an answer, unless `ignore_eos`
  std::int64_t max_context = 0;                         ///< tokens of prompt and answer
  int most_answers = 64;                                ///< of one request
  std::shared_ptr<const text::chat_template> chat = {}; ///< how calls of tools are written; none: no tools are served
};

/// A prompt: a text, or tokens.
using prompt = std::variant<std::string, std::vector<std::int32_t>>;

/// The body of `/v1/chat/completions` or `/v1/completions`.
struct completion_request {
  bool chat = false;
  std::vector<chat_turn> messages; ///< chat; calls of tools are in their texts
  std::vector<std::string> tools;  ///< that are offered, each as JSON; chat
  std::vector<prompt> prompts;     ///< else: one or several
  rollout::sampling how;
  int answers = 1; ///< `n`, of each prompt
  std::optional<std::uint64_t> seed;
  bool stream = false, with_usage = false, logprobs = false, token_ids = false;

  std::size_t prompts_count() const { return chat ? 1 : prompts.size(); }
};

/// Fields that nobody knows are passed over, as OpenAI's servers do. Fields of theirs that would change the answer and
/// cannot be served are refused.
/// @throws request_error 400 naming the field, what was found and what was wanted; 404 for another model
completion_request read_completion_request(std::string_view body, bool chat, const request_defaults& defaults);

} // namespace millrace::openai
