#pragma once

#include "runtime/environments/environment.hpp"
#include "runtime/openai/completion_request.hpp"
#include "runtime/openai/service.hpp"

#include <optional>
#include <span>
#include <string>
#include <vector>

namespace millrace::environments {

// What is said between a client and its episode.

/// The model's name for clients.
inline constexpr const char* policy_name = "policy";

/// Requests are read by these: the pipeline says how is sampled. The texts of messages hold calls in one form.
const openai::request_defaults& session_defaults();

/// The fields of a request that say how is sampled, as far as they ask for something else than OpenAI's defaults.
std::vector<std::string> sampling_fields(const openai::completion_request& asked);

/// A turn as the next request must repeat it.
chat_turn as_message(const written_turn& turn);

/// Sends a turn as the reply of a request.
void send_turn(const written_turn& turn, const openai::completion_request& asked, const openai::reply_way& out);

/// Where `found` does not begin with `said`, in one line.
std::optional<std::string> difference(std::span<const chat_turn> said, std::span<const chat_turn> found);

/// Looks at the roles of messages: those that chat templates know, and those that an environment may speak in.
/// @param first that is looked at  @param opening a conversation begins with them
/// @throws openai::request_error 400 for another one
void check_roles(std::span<const chat_turn> messages, std::size_t first, bool opening);

/// What is said to a turn where the request has another history: the policy goes on behind that one.
/// @param written its turns, as requests repeat them and as they were sampled: they stand there as they were sampled
/// @throws openai::request_error 400 for a history that says nothing
saying rewritten_by(const openai::completion_request& asked,
                    std::span<const std::pair<chat_turn, std::string>> written);

/// What a client is told of its episode.
std::string episode_text(const std::string& session, const episode_row& row);

} // namespace millrace::environments
