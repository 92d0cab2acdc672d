#include "runtime/model/packed_sequences.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <stdexcept>
#include <string>

namespace millrace::model {
namespace {

at::Tensor tensor_of(const std::vector<std::int64_t>& values) {
  return at::tensor(values, at::kLong);
}

} // namespace

packed_sequences pack(std::span<const prompt_and_answers> groups) {
  packed_sequences out;
  std::vector<std::int64_t> tokens, positions, rows, targets;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const auto& [prompt, answers] = groups[g];
    if (prompt.empty())
      throw std::invalid_argument("group " + std::to_string(g) + ": an empty prompt, want at least one token");
    const auto prompt_length = static_cast<std::int64_t>(prompt.size());
    packed_group layout{prompt_length, {}};
    for (std::int64_t i = 0; i < prompt_length; ++i) {
      tokens.push_back(prompt[static_cast<std::size_t>(i)]);
      positions.push_back(i);
    }
    const auto last_of_prompt = static_cast<std::int64_t>(tokens.size()) - 1;
    for (const auto& answer : answers) {
      for (std::size_t j = 0; j < answer.size(); ++j) {
        rows.push_back(j == 0 ? last_of_prompt : static_cast<std::int64_t>(tokens.size()) - 1);
        targets.push_back(answer[j]);
        if (j + 1 < answer.size()) {
          tokens.push_back(answer[j]);
          positions.push_back(prompt_length + static_cast<std::int64_t>(j));
        }
      }
      layout.answers.push_back(std::max<std::int64_t>(static_cast<std::int64_t>(answer.size()) - 1, 0));
    }
    out.groups.push_back(std::move(layout));
  }
  out.tokens = tensor_of(tokens);
  out.positions = tensor_of(positions);
  out.rows = tensor_of(rows);
  out.targets = tensor_of(targets);
  return out;
}

packed_sequences pack_sequence(const at::Tensor& tokens) {
  packed_sequences out;
  out.groups.push_back({tokens.size(0), {}});
  out.tokens = tokens.to(at::kLong);
  out.positions = at::arange(tokens.size(0), at::TensorOptions(at::kLong).device(tokens.device()));
  out.rows = out.targets = at::empty({0}, out.tokens.options());
  return out;
}

} // namespace millrace::model
