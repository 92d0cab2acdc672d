#include "runtime/model/answer_logprobs.hpp"

#include "kernels/token_logprob.hpp"
#include "runtime/model/inference_operations.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <stdexcept>
#include <string>

namespace millrace::model {
namespace {

constexpr std::int64_t rows_of_logits = 64;

/// Rows of one forward pass: enough for the products to run at full speed, few enough to keep activations small.
constexpr std::size_t rows_of_pass = 512;

/// Runs rows through the decoder as they come and scores those that have a target.
class pass {
public:
  pass(const decoder& policy, float temperature, int threads)
      : policy_(policy), temperature_(temperature), team_(threads), operations_(team_) {}

  /// @param target what follows the row, or `kernels::ignore_token`: then nothing is asked of it
  void add(inference_row row, std::int32_t target, float* logprob) {
    rows_.push_back(row);
    if (target != kernels::ignore_token)
      asked_.push_back({static_cast<std::int64_t>(rows_.size()) - 1, target, logprob});
    if (rows_.size() == rows_of_pass)
      flush();
  }

  /// Rows that wait for the next flush.
  std::size_t rows() const { return rows_.size(); }

  void flush() {
    if (rows_.empty())
      return;
    const at::Tensor hidden = operations_.forward(policy_, rows_);
    for (std::size_t first = 0; first < asked_.size(); first += rows_of_logits)
      score(hidden, std::span(asked_).subspan(first, std::min<std::size_t>(rows_of_logits, asked_.size() - first)));
    rows_.clear();
    asked_.clear();
  }

private:
  struct question {
    std::int64_t row;
    std::int32_t target;
    float* logprob;
  };

  void score(const at::Tensor& hidden, std::span<const question> asked) {
    std::vector<std::int64_t> index;
    std::vector<std::int32_t> targets;
    for (const auto& one : asked) {
      index.push_back(one.row);
      targets.push_back(one.target);
    }
    const auto logprob = operations_.logprobs(operations_.logits(policy_, hidden, index), targets, temperature_);
    for (std::size_t i = 0; i < asked.size(); ++i)
      *asked[i].logprob = logprob[i];
  }

  const decoder& policy_;
  float temperature_;
  kernels::thread_team team_;
  inference_operations operations_;
  std::vector<inference_row> rows_;
  std::vector<question> asked_;
};

} // namespace

std::vector<float> answer_logprobs(const decoder& policy, std::span<const std::int32_t> prompt,
                                   std::span<const std::vector<std::int32_t>> answers, double temperature,
                                   int threads) {
  if (prompt.empty())
    throw std::invalid_argument("answer_logprobs: an empty prompt; want at least one token");
  if (!(temperature >= 0))
    throw std::invalid_argument("answer_logprobs: want temperature >= 0");
  std::size_t total = 0;
  for (const auto& answer : answers) {
    if (static_cast<std::int64_t>(prompt.size() + answer.size()) > policy.config().max_positions)
      throw std::invalid_argument("prompt and answer: " + std::to_string(prompt.size() + answer.size())
                                  + " tokens, the model's context is " + std::to_string(policy.config().max_positions));
    for (const auto token : answer)
      if (token < 0 || token >= policy.config().vocab_size)
        throw std::invalid_argument("token " + std::to_string(token) + ": want one in [0, "
                                    + std::to_string(policy.config().vocab_size) + ")");
    total += answer.size();
  }
  std::vector<float> result(total);
  if (total == 0)
    return result;
  const auto pool = kv_pool::make(policy.config(), policy.device());
  const auto prompt_tokens = static_cast<std::int64_t>(prompt.size());
  pass work(policy, temperature > 0 ? static_cast<float>(temperature) : 1.0f, threads);

  // The last prompt token is run once for each answer: it is where an answer's own sequence starts.
  kv_sequence shared(pool);
  shared.grow(prompt_tokens - 1);
  for (std::int64_t i = 0; i + 1 < prompt_tokens; ++i)
    work.add({prompt[static_cast<std::size_t>(i)], &shared, i}, kernels::ignore_token, nullptr);
  work.flush();
  std::vector<kv_sequence> sequences;
  sequences.reserve(answers.size());
  float* next = result.data();
  for (const auto& answer : answers) {
    if (answer.empty())
      continue;
    if (work.rows() + answer.size() > rows_of_pass) { // finished answers need no cache any more
      work.flush();
      sequences.clear();
    }
    auto& own = sequences.emplace_back(shared.fork(shared.length()));
    own.grow(static_cast<std::int64_t>(answer.size()));
    for (std::size_t i = 0; i < answer.size(); ++i)
      work.add({i == 0 ? prompt.back() : answer[i - 1], &own, prompt_tokens - 1 + static_cast<std::int64_t>(i)},
               answer[i], next++);
  }
  work.flush();
  return result;
}

} // namespace millrace::model
