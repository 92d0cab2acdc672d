#pragma once

#include "runtime/rules/rule.hpp"
#include "runtime/workers/worker_process.hpp"

#include <nlohmann/json.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace millrace::rules {

// What people's own code is told of an answer and gives back, whatever it is asked over.

/// Which shape of questions it understands.
enum class question_form : std::uint8_t {
  calls, ///< of `reward_worker.py`: {"id", "calls"} and {"id", "results"}
  row,   ///< of a user's program: {"id", "data_source", ...} and {"id", "score", "reason", "metrics"}
};

/// The failure of what is no score. @param found one line
workers::worker_failure malformed(const std::string& found);

/// An answer and its row.
/// @param prompts "auto", "text", "messages": how a function wants prompts; of the form `calls` only
nlohmann::json call_of(const rule_input& input, question_form form, const std::string& prompts);

/// One line of JSON. Bytes that are no UTF-8 become U+FFFD.
std::string text_of(const nlohmann::json& message);

/// A reply as JSON; discarded where it is none.
/// @throws workers::worker_failure (malformed) for one of more levels than other code may walk through
nlohmann::json reply_in(const std::string& text);

/// The start of what came back instead of what was wanted, as one line.
std::string short_line(const nlohmann::json& found);

/// {"score", "metrics"} or {"failure", "reason"} as a score.
/// @throws workers::worker_failure (malformed) for one that is none
score score_in(const nlohmann::json& result);

/// @param what it is, for the line of the failure  @throws as `score_in` for what is no finite number
double number_in(const nlohmann::json& value, const std::string& what, const char* wanted = "a number");

/// A list of results as scores; one that is none is a failure of its answer.
/// @throws workers::worker_failure (malformed) for a list of another length
std::vector<score> scores_in(const nlohmann::json& results, std::size_t count);

} // namespace millrace::rules
