#pragma once

#include "runtime/openai/completion_request.hpp"
#include "runtime/rollout/sampling.hpp"
#include "runtime/words/tool_call.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace millrace::openai {

/// What is said of a request in each of its replies.
struct reply_head {
  bool chat = false;
  std::string id, model;
  std::int64_t created = 0; ///< seconds since 1970
};

/// An answer, or what has come of it since the last piece.
struct choice_piece {
  std::size_t index = 0; ///< prompt times answers, plus answer
  std::string text;
  std::vector<std::int32_t> tokens;
  std::vector<float> logprobs;          ///< of each token
  std::vector<std::string> token_texts; ///< of each token, its bytes; where log-probabilities are asked for
  std::optional<rollout::finish_reason> end;
  std::vector<tool_call> calls = {}; ///< of tools, each well formed
  std::size_t text_offset = 0;       ///< of the answer's text, characters: where the piece begins
  bool last_turn = false;            ///< of an episode; said in a whole reply
};

struct token_counts {
  std::int64_t prompt = 0, completion = 0;
};

/// Writes replies as OpenAI's servers do. With `token_ids` a choice also has `token_ids`, and the reply
/// `prompt_token_ids`, as vLLM's have.
class reply_text {
public:
  reply_text(reply_head head, const completion_request& asked) : head_(std::move(head)), asked_(asked) {}

  /// The whole reply. @param pieces one an answer @param prompts the tokens of each
  std::string whole(const std::vector<choice_piece>& pieces, const token_counts& counts,
                    const std::vector<std::vector<std::int32_t>>& prompts) const;

  /// Events of a stream, each with its empty line. `opening` comes once for each choice of a chat, and has `behind`,
  /// the prompt's tokens, where tokens are asked for.
  std::string opening(std::size_t choice, const std::vector<std::int32_t>& behind) const;
  std::string event(const choice_piece& piece) const;
  std::string usage_event(const token_counts& counts) const;

private:
  reply_head head_;
  const completion_request& asked_;
};

/// The end of every stream.
inline constexpr const char* end_of_stream = "data: [DONE]\n\n";

/// What `/health` says.
inline constexpr const char* health_text = R"({"status":"ok"})";

/// 24 random digits behind `prefix`.
std::string fresh_id(const std::string& prefix);

/// {"error": {"message", "type", "param", "code"}}
std::string error_text(int status, const std::string& why, const std::string& field = {});

/// Of `/v1/models/NAME`. @param max_context tokens; 0: not known @param created seconds since 1970
std::string model_text(const std::string& model, std::int64_t max_context, std::int64_t created);

/// Of `/v1/models`.
std::string models_text(const std::string& model, std::int64_t max_context, std::int64_t created);

} // namespace millrace::openai
