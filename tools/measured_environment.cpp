#include "tools/measured_environment.hpp"

#include "runtime/roles/environment_role.hpp"
#include "runtime/roles/rollout_requests.hpp"
#include "runtime/words/input_error.hpp"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <stop_token>
#include <thread>
#include <variant>

namespace millrace::tools {

measured_environment::measured_environment(const pipeline::pipeline& p, const pipeline::rollout_table& table,
                                           const model::checkpoint& words)
    : words_(words), table_(std::get<pipeline::environment_table>(p.at(table.environment).options)),
      plays_(roles::started(table_, p, table.environment)) {
  episodes_.emplace(*plays_, table_, model::chat_of(words_).leaves_thoughts_out());
}

roles::evaluation_episodes::arrivals measured_environment::arrived(bool wait) {
  if (!wait)
    return episodes_->arrived(false, {});
  const auto longest = std::chrono::duration<double>(std::max(60.0, table_.abilities().deadline_s));
  std::stop_source late;
  const std::jthread timer([&late, longest](const std::stop_token& heard) {
    std::mutex lock;
    std::condition_variable_any never;
    std::unique_lock hold(lock);
    never.wait_for(hold, heard, longest, [] { return false; });
    if (!heard.stop_requested())
      late.request_stop();
  });
  auto came = episodes_->arrived(true, late.get_token());
  if (came.opened.empty() && came.replies.empty())
    throw input_error("plan: environment " + table_.type + " said nothing for "
                      + std::to_string(static_cast<std::int64_t>(longest.count())) + " s, want --costs or --trace");
  return came;
}

void measured_environment::begin(std::uint64_t group, const environments::episode_row& row, std::int32_t answers,
                                 std::uint64_t seed) {
  beginning_[group] = steady::now();
  episodes_->begin(group, row, answers, seed);
}

std::map<std::uint64_t, environments::beginning> measured_environment::begun(double& mean_s) {
  std::map<std::uint64_t, environments::beginning> found;
  double seconds = 0;
  while (!beginning_.empty())
    for (auto& opened : arrived(true).opened) {
      const auto asked = beginning_.extract(opened.group);
      if (!asked)
        continue;
      if (!opened.error.empty())
        throw input_error("plan: its environment: " + opened.error);
      seconds += std::chrono::duration<double>(steady::now() - asked.mapped()).count();
      found.emplace(opened.group, std::move(opened.begins));
    }
  mean_s = found.empty() ? 0 : seconds / static_cast<double>(found.size());
  return found;
}

void measured_environment::ask(const rollout::engine& engine) {
  for (const auto& turn : engine.last_turns()) {
    asked_[{turn.group, turn.answer}] = steady::now();
    episodes_->take(turn,
                    episodes_->tools(turn.group).empty() ? called_turn() : model::chat_of(words_).calls_in(turn.text));
  }
}

void measured_environment::hear(rollout::engine& engine) {
  for (const auto& reply : arrived(engine.waits() && !asked_.empty()).replies) {
    const auto asked = asked_.extract({reply.turn.group, reply.turn.answer});
    if (!reply.error.empty()) {
      if (engine.cancel(reply.turn.group) && figures_.failed_groups++ == 0)
        figures_.first_failure = reply.error;
      continue;
    }
    if (asked)
      figures_.seconds.push_back(std::chrono::duration<double>(steady::now() - asked.mapped()).count());
    auto tokens = roles::reply_in_tokens(words_, reply.turn, reply.said, episodes_->tools(reply.turn.group));
    if (!tokens.done) {
      ++figures_.said;
      figures_.observed += std::ssize(tokens.tokens);
    }
    engine.go_on(reply.turn.group, reply.turn.answer, tokens);
  }
}

} // namespace millrace::tools
