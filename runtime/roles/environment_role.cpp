#include "runtime/roles/environment_role.hpp"

#include "runtime/environments/with_tools.hpp"
#include "runtime/roles/dialogue.hpp"
#include "runtime/roles/role_kinds.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>
#include <vector>

namespace millrace::roles {
namespace {

constexpr std::string_view cut_words = " [cut]";

/// Cuts what is longer than `most` bytes at the end of a character.
void cut(std::vector<chat_turn>& messages, std::size_t most) {
  for (auto& message : messages) {
    if (message.content.size() > most) {
      std::size_t end = most - std::min(most, cut_words.size());
      while (end > 0 && (static_cast<unsigned char>(message.content[end]) & 0xC0) == 0x80)
        --end;
      message.content.resize(end);
      message.content += cut_words;
    }
    most -= std::min(most, message.content.size());
  }
}

} // namespace

environments::episode_row episode_row_of(const columns::prompt_content& content) {
  return {.prompt = content.prompt,
          .answer = content.answer,
          .ground_truth = content.ground_truth,
          .data_source = content.data_source,
          .extra_info = content.extra_info};
}

turn_taken bounded_reply(environments::saying said, bool last, std::size_t max_bytes) {
  turn_taken reply{.messages = std::move(said.messages),
                   .reward = said.reward,
                   .done = said.done || last,
                   .history = std::move(said.history),
                   .rewritten = said.rewritten};
  if (reply.done) {
    reply.messages.clear();
    reply.history.clear();
    reply.rewritten = false;
  }
  cut(reply.messages, max_bytes);
  return reply;
}

struct environment_role::state {
  using poster = std::function<void(std::function<void(state&)> work)>;

  struct open_episode {
    std::int32_t taken = 0;         ///< turns that were replied to, or are being replied to
    bool full = false;              ///< the answer has no room for another
    std::string turn;               ///< the text of the last of them
    std::optional<dialogue> spoken; ///< where replies come with it
    std::optional<turn_taken> last;
    std::vector<answer_to<turn_taken>> waiting; ///< for the reply to the last of them
  };

  struct group {
    std::optional<environments::beginning> begins;
    std::vector<answer_to<episodes_begun>> waiting; ///< for it
    std::vector<open_episode> episodes;
    bool with_history = false;
  };

  state(const role_setup& from, const pipeline::environment_table& table,
        std::unique_ptr<environments::environment> with)
      : setup(from), max_turns(table.max_turns), max_bytes(static_cast<std::size_t>(table.max_reply_bytes)),
        history(table.history), plays(std::move(with)) {}

  void begin(const begin_episodes& ask, answer_to<episodes_begun> done);
  void row_arrived(const begin_episodes& ask, const columns::column_set& columns, const std::string& error);
  void begun(group_attempt which, environments::beginning what, const std::string& error);
  void take(const take_turn& ask, const answer_to<turn_taken>& done);
  void said(const environments::episode_id& which, environments::saying what, const std::string& error);

  role_setup setup;
  std::int64_t max_turns;
  std::size_t max_bytes;
  episode_history history;
  poster post;
  std::map<group_attempt, group> groups;
  std::unique_ptr<environments::environment> plays; ///< goes first: it calls nobody afterwards
};

environment_role::environment_role(const role_setup& setup, const pipeline::environment_table& table,
                                   std::unique_ptr<environments::environment> plays)
    : state_(std::make_shared<state>(setup, table, std::move(plays))), requests_(std::make_unique<job_thread>()) {
  state_->post = [post = requests_->weak_poster(), weak_state = std::weak_ptr(state_)](auto work) {
    post([weak_state, work = std::move(work)] {
      if (const auto alive = weak_state.lock())
        work(*alive);
    });
  };
}

environment_role::~environment_role() = default;

void environment_role::begin(const begin_episodes& ask, answer_to<episodes_begun> done) {
  state_->post([ask, done = std::move(done)](state& self) { self.begin(ask, done); });
}

void environment_role::take(const take_turn& ask, answer_to<turn_taken> done) {
  state_->post([ask, done = std::move(done)](state& self) { self.take(ask, done); });
}

void environment_role::end(const end_episodes& ask) {
  state_->post([which = group_attempt{ask.group, ask.since}, answer = ask.answer](state& self) {
    if (answer >= 0)
      return self.plays->over({which, answer});
    self.groups.erase(which);
    self.plays->end(which);
  });
}

void environment_role::close() {
  state_->plays->close();
}

void environment_role::state::begin(const begin_episodes& ask, answer_to<episodes_begun> done) {
  const auto [found, fresh] = groups.try_emplace({ask.group, ask.since});
  auto& here = found->second;
  if (here.begins) {
    done({.prompt = here.begins->prompt, .tools = here.begins->tools}, {});
    return;
  }
  here.waiting.push_back(std::move(done));
  if (!fresh)
    return;
  here.episodes.resize(static_cast<std::size_t>(ask.answers));
  here.with_history = ask.with_history && history == episode_history::as_template;
  columns::pull_columns(*setup.data, std::span(&ask.columns, 1), columns::wanted_by(setup.role()), setup.deadline(),
                        [ask, post = post](const columns::column_set& columns, const std::string& error) {
                          post([=](state& self) { self.row_arrived(ask, columns, error); });
                        });
}

void environment_role::state::row_arrived(const begin_episodes& ask, const columns::column_set& columns,
                                          const std::string& error) {
  const group_attempt which{ask.group, ask.since};
  if (!groups.contains(which))
    return; // it was ended
  if (!error.empty())
    return begun(which, {}, error);
  environments::episode_row row;
  try {
    row = episode_row_of(columns::content_of(columns));
  } catch (const std::exception& wrong) {
    return begun(which, {}, wrong.what());
  }
  plays->begin(which, row, ask.answers, ask.seed,
               [which, post = post](environments::beginning what, const std::string& why) {
                 post([which, what = std::move(what), why](state& self) { self.begun(which, what, why); });
               });
}

void environment_role::state::begun(group_attempt which, environments::beginning what, const std::string& error) {
  const auto found = groups.find(which);
  if (found == groups.end())
    return;
  const auto waiting = std::exchange(found->second.waiting, {});
  if (error.empty())
    found->second.begins = what;
  else
    groups.erase(found);
  for (const auto& done : waiting)
    done({.prompt = what.prompt, .tools = what.tools}, error);
}

void environment_role::state::take(const take_turn& ask, const answer_to<turn_taken>& done) {
  const group_attempt which{ask.group, ask.since};
  const auto found = groups.find(which);
  if (found == groups.end() || ask.answer < 0 || ask.answer >= std::ssize(found->second.episodes))
    return done({}, "no such episode is here");
  auto& episode = found->second.episodes[static_cast<std::size_t>(ask.answer)];
  if (ask.turn + 1 == episode.taken) {
    if (episode.last)
      done(*episode.last, {});
    else
      episode.waiting.push_back(done);
    return;
  }
  if (ask.turn != episode.taken || (episode.taken > 0 && !episode.last))
    return done({}, "found turn " + std::to_string(ask.turn) + " of an episode, want turn "
                        + std::to_string(episode.taken));
  ++episode.taken;
  episode.full = ask.last;
  episode.turn = ask.text;
  episode.last.reset();
  episode.waiting.push_back(done);
  const environments::episode_id id{which, ask.answer};
  plays->take(id,
              {.text = ask.text,
               .cut_off = ask.cut_off,
               .last = ask.last || episode.taken >= max_turns,
               .content = ask.read.content,
               .calls = ask.read.calls,
               .prompt_tokens = ask.prompt_tokens,
               .tokens = ask.tokens,
               .sampled = ask.sampled},
              [id, post = post](environments::saying what, const std::string& why) {
                post([id, what = std::move(what), why](state& self) { self.said(id, what, why); });
              });
}

void environment_role::state::said(const environments::episode_id& which, environments::saying what,
                                   const std::string& error) {
  const auto found = groups.find(which.group);
  if (found == groups.end())
    return;
  auto& episode = found->second.episodes.at(static_cast<std::size_t>(which.answer));
  auto reply = bounded_reply(std::move(what), episode.full || episode.taken >= max_turns, max_bytes);
  if (error.empty()) {
    if (found->second.with_history && !episode.spoken)
      episode.spoken = dialogue(found->second.begins->prompt);
    if (episode.spoken)
      reply = episode.spoken->heard(episode.turn, std::move(reply));
    episode.last = reply;
  } else {
    --episode.taken; // whoever asks again is not left waiting
  }
  for (const auto& done : std::exchange(episode.waiting, {}))
    done(reply, error);
}

std::unique_ptr<environments::environment> started(const pipeline::environment_table& table,
                                                   const pipeline::pipeline& p, const std::string& role) {
  auto plays = environments::find_environment_type(table.type)->make(table.options);
  if (!table.tools.empty()) {
    std::vector<std::unique_ptr<environments::tool>> tools;
    for (const auto& entry : table.tools)
      tools.push_back(environments::find_tool_type(entry.type)->make(entry.options));
    plays = environments::with_tools(std::move(plays), std::move(tools));
  }
  if (const auto why = plays->unusable(); !why.empty())
    throw pipeline::pipeline_errors(
        {p.mistake_at("roles." + role + ".type", "environment " + table.type + ": " + why)});
  return plays;
}

role_abilities made(const role_setup& setup, const pipeline::environment_table& table) {
  const auto role = std::make_shared<environment_role>(setup, table, started(table, *setup.pipeline, setup.who.role));
  return {.plays_episodes = role, .serves_clients = role};
}

} // namespace millrace::roles
