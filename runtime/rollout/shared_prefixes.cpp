#include "runtime/rollout/shared_prefixes.hpp"

#include <algorithm>
#include <span>
#include <utility>
#include <vector>

namespace millrace::rollout {
namespace {

/// Those of its sequence.
std::vector<std::int32_t> tokens_of(const slot& who) {
  const auto& drawn = who.text().tokens;
  const auto begin = who.begin();
  if (begin > 0)
    return {drawn.begin() + begin, drawn.end()};
  std::vector<std::int32_t> tokens = who.group->request.prompt;
  tokens.insert(tokens.end(), drawn.begin(), drawn.end());
  return tokens;
}

} // namespace

std::int64_t shared_prefixes::give(group_state& group) {
  if (!on_ || group.prompt_done())
    return 0;
  auto found = cache_.find(std::span(group.request.prompt).first(group.request.prompt.size() - 1));
  const std::int64_t more = found.length() - group.computed;
  if (more <= 0)
    return 0;
  group.computed = found.length();
  group.prompt = std::move(found);
  group.result.prompt_tokens_found += more;
  return more;
}

std::int64_t shared_prefixes::give(slot& who) {
  if (!on_ || who.started || who.text().tokens.empty() || (who.begin() < 0 && !who.group->prompt_done()))
    return 0;
  const auto tokens = tokens_of(who);
  auto found = cache_.find(std::span(tokens).first(tokens.size() - 1));
  const std::int64_t more = found.length() - std::max<std::int64_t>(0, -who.begin());
  if (more <= 0)
    return 0;
  who.sequence = std::move(found);
  who.started = who.anew = true;
  return more;
}

void shared_prefixes::keep(const group_state& group) {
  if (on_)
    cache_.keep(group.request.prompt, group.prompt);
}

void shared_prefixes::keep(const slot& who) {
  if (on_ && who.started && !who.mixed)
    cache_.keep(tokens_of(who), who.sequence);
}

} // namespace millrace::rollout
