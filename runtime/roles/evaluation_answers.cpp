#include "runtime/roles/evaluation_answers.hpp"

#include <nlohmann/json.hpp>

namespace millrace::roles {

std::string answers_line(const held_out_row& row, const std::vector<held_out_answer>& answers) {
  nlohmann::json said = nlohmann::json::array();
  for (const auto& a : answers)
    said.push_back({{"text", a.text},
                    {"reward", a.score.reward},
                    {"correct", a.score.correct},
                    {"vote", a.score.vote},
                    {"tokens", a.score.tokens},
                    {"cut_off", a.score.cut_off}});
  const nlohmann::json line{{"row", row.where}, {"task", row.task}, {"answer", row.answer}, {"answers", said}};
  return line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

} // namespace millrace::roles
