#include "runtime/roles/evaluation_episodes.hpp"

#include "runtime/roles/environment_role.hpp"

#include <condition_variable>
#include <mutex>
#include <utility>

namespace millrace::roles {

struct evaluation_episodes::inbox {
  std::mutex lock;
  std::condition_variable_any came;
  arrivals what;

  template <class Arrived>
  void put(std::vector<Arrived> arrivals::*where, Arrived one) {
    {
      const std::lock_guard hold(lock);
      (what.*where).push_back(std::move(one));
    }
    came.notify_one();
  }
};

evaluation_episodes::evaluation_episodes(environments::environment& plays, const pipeline::environment_table& table,
                                         bool thoughts_left_out)
    : plays_(plays), table_(table), with_history_(thoughts_left_out && table.history == episode_history::as_template),
      inbox_(std::make_shared<inbox>()) {
}

evaluation_episodes::~evaluation_episodes() {
  for (const auto& [group, what] : open_)
    plays_.end({group, 0});
}

void evaluation_episodes::begin(std::uint64_t group, const environments::episode_row& row, std::int32_t answers,
                                std::uint64_t seed) {
  open_[group] = {.answers = answers};
  plays_.begin({group, 0}, row, answers, seed,
               [group, inbox = inbox_](environments::beginning begins, std::string error) {
                 inbox->put(&arrivals::opened, {group, std::move(begins), std::move(error)});
               });
}

void evaluation_episodes::take(const rollout::ended_turn& turn, called_turn read) {
  const bool last = turn.room == 0 || turn.turn + 1 >= table_.max_turns;
  plays_.take({{turn.group, 0}, turn.answer},
              {.text = turn.text,
               .cut_off = turn.finish == rollout::finish_reason::length,
               .last = last,
               .content = std::move(read.content),
               .calls = std::move(read.calls)},
              [turn, last, most = static_cast<std::size_t>(table_.max_reply_bytes),
               inbox = inbox_](environments::saying said, std::string error) {
                inbox->put(&arrivals::replies, {turn, bounded_reply(std::move(said), last, most), std::move(error)});
              });
}

void evaluation_episodes::end(std::uint64_t group) {
  if (open_.erase(group) > 0)
    plays_.end({group, 0});
}

const std::vector<std::string>& evaluation_episodes::tools(std::uint64_t group) const {
  static const std::vector<std::string> none;
  const auto found = open_.find(group);
  return found == open_.end() ? none : found->second.tools;
}

evaluation_episodes::arrivals evaluation_episodes::arrived(bool wait, const std::stop_token& stop) {
  std::unique_lock hold(inbox_->lock);
  if (wait)
    inbox_->came.wait(hold, stop, [&] { return !inbox_->what.opened.empty() || !inbox_->what.replies.empty(); });
  auto what = std::exchange(inbox_->what, {});
  hold.unlock();
  for (const auto& opened : what.opened)
    if (const auto found = open_.find(opened.group); found != open_.end()) {
      found->second.tools = opened.begins.tools;
      for (std::int32_t i = 0; with_history_ && i < found->second.answers; ++i)
        found->second.spoken.emplace(i, opened.begins.prompt);
    }
  for (auto& came_in : what.replies)
    if (const auto group = open_.find(came_in.turn.group); group != open_.end())
      if (const auto spoken = group->second.spoken.find(came_in.turn.answer); spoken != group->second.spoken.end())
        came_in.said = spoken->second.heard(came_in.turn.text, std::move(came_in.said));
  return what;
}

} // namespace millrace::roles
