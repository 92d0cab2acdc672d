#include "runtime/model/score_head.hpp"

#include "runtime/model/float_tensor.hpp"
#include "runtime/model/packed_sequences.hpp"
#include "runtime/model/training_operations.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

namespace millrace::model {
namespace {

void check(const decoder& model, std::span<const std::int32_t> prompt,
           std::span<const std::vector<std::int32_t>> answers) {
  if (!model.config().score_head)
    throw std::invalid_argument("a language-model head, want one with a score head");
  const auto check_tokens = [&](std::span<const std::int32_t> tokens) {
    for (const auto token : tokens)
      if (token < 0 || token >= model.config().vocab_size)
        throw std::invalid_argument("token " + std::to_string(token) + ": want one in [0, "
                                    + std::to_string(model.config().vocab_size) + ")");
  };
  check_tokens(prompt);
  for (const auto& answer : answers) {
    check_tokens(answer);
    if (static_cast<std::int64_t>(prompt.size() + answer.size()) > model.config().max_positions)
      throw std::invalid_argument("prompt and answer: " + std::to_string(prompt.size() + answer.size())
                                  + " tokens, the model's context is " + std::to_string(model.config().max_positions));
  }
}

/// The number at the row that predicts each token of `answers`.
std::vector<float> scores_of_pass(const decoder& model, std::span<const std::int32_t> prompt,
                                  std::span<const std::vector<std::int32_t>> answers, const arithmetic& how) {
  const at::Device device = model.device();
  const prompt_and_answers group{prompt, {answers.begin(), answers.end()}};
  const packed_sequences packed = pack({&group, 1});
  if (packed.rows.numel() == 0)
    return {};
  training_operations ops(packed.groups, activations::kept, nullptr, how);
  const at::Tensor hidden = model.hidden(ops, packed.tokens.to(device), packed.positions.to(device));
  const at::Tensor scores =
      token_scores(hidden, model.head(), packed.rows.to(device), how).to(at::kCPU, at::kFloat).contiguous();
  return {scores.data_ptr<float>(), scores.data_ptr<float>() + scores.numel()};
}

std::vector<float> values_before(const decoder& model, std::span<const std::int32_t> prompt,
                                 std::span<const std::vector<std::int32_t>> answers, std::int64_t tokens_at_once,
                                 const arithmetic& how) {
  const at::NoGradGuard no_grad;
  std::vector<float> values;
  for (std::size_t first = 0, end = 0; first < answers.size(); first = end) {
    auto fed = static_cast<std::int64_t>(prompt.size() + answers[first].size());
    for (end = first + 1;
         end < answers.size() && fed + static_cast<std::int64_t>(answers[end].size()) <= tokens_at_once; ++end)
      fed += static_cast<std::int64_t>(answers[end].size());
    const auto some = scores_of_pass(model, prompt, answers.subspan(first, end - first), how);
    values.insert(values.end(), some.begin(), some.end());
  }
  return values;
}

} // namespace

checkpoint with_score_head(checkpoint model) {
  if (std::exchange(model.config.score_head, true))
    return model;
  std::erase_if(model.parameters, [](const named_tensor& p) { return p.name == "lm_head.weight"; });
  model.parameters.push_back({"score.weight", at::zeros({1, model.config.hidden_size}, at::kFloat)});
  std::sort(model.parameters.begin(), model.parameters.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  return model;
}

at::Tensor token_scores(const at::Tensor& hidden, const linear_weight& head, const at::Tensor& rows,
                        const arithmetic& how) {
  TORCH_CHECK(head.weight.dim() == 2 && head.weight.size(0) == 1, "head: want [1, hidden], got ", head.weight.sizes());
  const at::Tensor weight = half_vector(head.weight, how);
  return widened(hidden.index_select(0, rows)).matmul(weight.squeeze(0));
}

std::vector<float> answer_values(const decoder& model, std::span<const std::int32_t> prompt,
                                 std::span<const std::vector<std::int32_t>> answers, std::int64_t tokens_at_once,
                                 const arithmetic& how) {
  check(model, prompt, answers);
  return values_before(model, prompt, answers, tokens_at_once, how);
}

scored_part scored_part_of(std::span<const std::int32_t> prompt, std::span<const std::int32_t> answer,
                           std::optional<std::int32_t> pad) {
  while (pad && !answer.empty() && answer.back() == *pad)
    answer = answer.first(answer.size() - 1);
  while (pad && answer.empty() && prompt.size() > 1 && prompt.back() == *pad)
    prompt = prompt.first(prompt.size() - 1);
  return {prompt, answer};
}

std::vector<float> answer_scores(const decoder& model, std::span<const std::int32_t> prompt,
                                 std::span<const std::vector<std::int32_t>> answers, std::int64_t tokens_at_once) {
  check(model, prompt, answers);
  std::vector<float> scores;
  for (std::size_t first = 0, end = 0; first < answers.size(); first = end) {
    // The number at a part's last token is the one before a token that follows it, whichever that is.
    std::vector<std::vector<std::int32_t>> followed;
    const std::size_t shared = scored_part_of(prompt, answers[first], model.config().pad_id).prompt.size();
    for (; end < answers.size(); ++end) {
      const auto part = scored_part_of(prompt, answers[end], model.config().pad_id);
      if (part.prompt.size() != shared)
        break;
      followed.emplace_back(part.answer.begin(), part.answer.end()).push_back(0);
    }
    const auto values = values_before(model, prompt.first(shared), followed, tokens_at_once, {});
    std::size_t last = 0;
    for (const auto& answer : followed)
      scores.push_back(values[(last += answer.size()) - 1]);
  }
  return scores;
}

} // namespace millrace::model
