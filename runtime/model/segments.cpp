#include "runtime/model/segments.hpp"

#include <stdexcept>
#include <string>

namespace millrace::model {

std::span<const std::int32_t> begins_of(const segment_begins& all, std::size_t answer) {
  return all.empty() ? std::span<const std::int32_t>() : std::span(all.at(answer));
}

std::span<const std::int32_t> first_segment(std::span<const std::int32_t> answer,
                                            std::span<const std::int32_t> begins) {
  return begins.empty() ? answer : answer.first(static_cast<std::size_t>(begins.front()));
}

std::vector<std::span<const std::int32_t>> further_segments(std::span<const std::int32_t> answer,
                                                            std::span<const std::int32_t> begins) {
  std::vector<std::span<const std::int32_t>> found;
  for (std::size_t k = 0; k < begins.size(); ++k) {
    const auto end = k + 1 < begins.size() ? std::int64_t{begins[k + 1]} : std::ssize(answer);
    if (begins[k] <= 0 || begins[k] >= end || end > std::ssize(answer))
      throw std::invalid_argument("a segment of the tokens " + std::to_string(begins[k]) + " to " + std::to_string(end)
                                  + " of " + std::to_string(answer.size()) + ", want segments one after another");
    found.push_back(
        answer.subspan(static_cast<std::size_t>(begins[k]), static_cast<std::size_t>(end - std::int64_t{begins[k]})));
  }
  return found;
}

ending ending_of(std::span<const std::int32_t> prompt, std::span<const std::int32_t> answer,
                 std::span<const std::int32_t> begins) {
  if (begins.empty())
    return {prompt, answer};
  const auto last = further_segments(answer, begins).back();
  return {last.first(1), last.subspan(1)};
}

std::vector<float> by_segment(const token_scorer& score, std::span<const std::int32_t> prompt,
                              std::span<const std::vector<std::int32_t>> answers, const segment_begins& begins) {
  if (begins.empty())
    return score(prompt, answers);
  std::vector<std::vector<std::int32_t>> firsts;
  for (std::size_t i = 0; i < answers.size(); ++i) {
    const auto first = first_segment(answers[i], begins_of(begins, i));
    firsts.emplace_back(first.begin(), first.end());
  }
  const auto of_firsts = score(prompt, firsts);
  std::vector<float> all;
  auto next = of_firsts.begin();
  for (std::size_t i = 0; i < answers.size(); ++i) {
    const auto end = next + std::ssize(firsts[i]);
    all.insert(all.end(), next, end);
    next = end;
    for (const auto segment : further_segments(answers[i], begins_of(begins, i))) {
      all.push_back(0);
      const std::vector<std::int32_t> rest(segment.begin() + 1, segment.end());
      const auto of_rest = score(segment.first(1), std::span(&rest, 1));
      all.insert(all.end(), of_rest.begin(), of_rest.end());
    }
  }
  return all;
}

} // namespace millrace::model
