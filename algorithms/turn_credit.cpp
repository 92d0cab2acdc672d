#include "algorithms/turn_credit.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <stdexcept>
#include <tuple>
#include <vector>

namespace millrace::algorithms {
namespace {

std::vector<std::int64_t> numbers(const at::Tensor& t) {
  const at::Tensor flat = t.contiguous();
  return {flat.data_ptr<std::int64_t>(), flat.data_ptr<std::int64_t>() + flat.numel()};
}

/// How many turns of the same answer stand before each.
std::vector<std::int64_t> places(const std::vector<std::int64_t>& answer) {
  std::vector<std::int64_t> place(answer.size(), 0);
  for (std::size_t t = 1; t < answer.size(); ++t)
    place[t] = answer[t] == answer[t - 1] ? place[t - 1] + 1 : 0;
  return place;
}

} // namespace

at::Tensor turn_returns(const turn_columns& turns, const at::Tensor& reward, double discount) {
  const auto answer = numbers(turns.answer);
  const at::Tensor given = turns.reward.to(at::kDouble).contiguous(), own = reward.to(at::kDouble).contiguous();
  at::Tensor out = at::empty_like(given);
  double later = 0;
  for (std::size_t t = answer.size(); t-- > 0;) {
    const bool last = t + 1 == answer.size() || answer[t + 1] != answer[t];
    later = given.data_ptr<double>()[t] + (last ? own.data_ptr<double>()[answer[t]] : discount * later);
    out.data_ptr<double>()[t] = later;
  }
  return out;
}

at::Tensor turn_advantages(const algorithm& row, const step_columns& step, const turn_columns& turns,
                           const hyperparameter_values& values, double discount) {
  if (step.value.defined())
    throw std::invalid_argument("turn_advantages: found values of a critic, want none");
  const auto answer = numbers(turns.answer), length = numbers(turns.length), group_of = numbers(step.group);
  const auto place = places(answer);
  std::vector<std::int64_t> first(length.size(), 0);
  std::exclusive_scan(length.begin(), length.end(), first.begin(), std::int64_t{0});
  const auto compared = [&](std::int64_t t) {
    const auto at = static_cast<std::size_t>(t);
    return std::pair(group_of[static_cast<std::size_t>(answer[at])], place[at]);
  };
  std::vector<std::int64_t> order(answer.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, {}, compared);
  std::vector<std::int64_t> tokens, group, whose;
  for (std::size_t i = 0; i < order.size(); ++i) {
    const auto t = static_cast<std::size_t>(order[i]);
    group.push_back(i == 0 ? 0 : group.back() + (compared(order[i]) != compared(order[i - 1])));
    whose.push_back(answer[t]);
    for (std::int64_t k = 0; k < length[t]; ++k)
      tokens.push_back(first[t] + k);
  }
  const at::Tensor turn_order = at::tensor(order, at::kLong), token_order = at::tensor(tokens, at::kLong),
                   answer_order = at::tensor(whose, at::kLong);
  const auto by_token = [&](const at::Tensor& t) { return t.defined() ? t.index_select(0, token_order) : t; };
  const auto by_answer = [&](const at::Tensor& t) { return t.defined() ? t.index_select(0, answer_order) : t; };
  const step_columns apart{.reward = turn_returns(turns, step.reward, discount).index_select(0, turn_order),
                           .group = at::tensor(group, at::kLong),
                           .length = turns.length.index_select(0, turn_order),
                           .behaviour_logprob = by_token(step.behaviour_logprob),
                           .ref_logprob = by_token(step.ref_logprob),
                           .old_logprob = by_token(step.old_logprob),
                           .value = {},
                           .baseline = by_answer(step.baseline),
                           .domain = by_answer(step.domain),
                           .clamps = step.clamps};
  const at::Tensor found = row.advantages(apart, values);
  return at::empty_like(found).index_copy_(0, token_order, found);
}

} // namespace millrace::algorithms
