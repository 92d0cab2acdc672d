#include "runtime/train/shown_groups.hpp"

#include <algorithm>
#include <limits>
#include <utility>

namespace millrace::train {
namespace {

/// Takes the log-probabilities of one answer after another. A token that the mask takes out has none.
class logprob_reader {
public:
  explicit logprob_reader(std::span<const float> all) : left_(all) {}

  std::vector<float> of_answer(const training_group& group, std::size_t answer) {
    std::vector<float> found(group.answers[answer].size(), std::numeric_limits<float>::quiet_NaN());
    for (std::size_t t = 0; t < found.size() && !left_.empty(); ++t)
      if (group.mask.empty() || group.mask[answer][t] != 0) {
        found[t] = left_.front();
        left_ = left_.subspan(1);
      }
    return found;
  }

private:
  std::span<const float> left_;
};

/// @param tokens of the answer, from its first on
shown_answer shown(const training_group& group, std::size_t answer, std::size_t tokens,
                   std::vector<float> policy_logprob, const std::shared_ptr<const text::tokenizer>& tok) {
  shown_answer made;
  text::text_stream words(tok, text::specials::keep);
  for (std::size_t t = 0; t < tokens; ++t)
    made.text.push_back(words.push(group.answers[answer][t]));
  if (tokens > 0)
    made.text.back() += words.finish();
  policy_logprob.resize(tokens);
  made.policy_logprob = std::move(policy_logprob);
  const auto first = [end = static_cast<std::ptrdiff_t>(tokens)](const auto& column) {
    return std::vector(column.begin(), column.begin() + end);
  };
  made.logprob = first(group.behaviour_logprob[answer]);
  made.version = first(group.version[answer]);
  return made;
}

} // namespace

std::vector<std::size_t> shown_tokens_of(const training_group& group) {
  std::vector<std::size_t> tokens;
  std::size_t room = shown_group::most_tokens;
  for (std::size_t i = 0; i < group.answers.size(); ++i) {
    tokens.push_back(std::min(group.answers[i].size(), room / (group.answers.size() - i)));
    room -= tokens.back();
  }
  return tokens;
}

std::vector<shown_group> shown_groups_of(std::span<const training_group> groups, std::span<const float> policy_logprob,
                                         std::span<const std::uint64_t> left_out,
                                         const std::shared_ptr<const text::tokenizer>& tok) {
  std::vector<shown_group> all;
  logprob_reader logprobs(policy_logprob);
  for (const auto& group : groups) {
    if (!tok || all.size() == shown_group::most_groups)
      break;
    if (std::find(left_out.begin(), left_out.end(), group.id) != left_out.end())
      continue;
    auto& made = all.emplace_back(shown_group{.group = group.id, .answers = {}});
    const auto tokens = shown_tokens_of(group);
    for (std::size_t i = 0; i < group.answers.size(); ++i)
      made.answers.push_back(shown(group, i, tokens[i], logprobs.of_answer(group, i), tok));
  }
  return all;
}

} // namespace millrace::train
