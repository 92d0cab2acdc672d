#include "runtime/environments/client_sessions.hpp"

#include "runtime/environments/session_words.hpp"
#include "runtime/formats/strict_json.hpp"
#include "runtime/telemetry/log.hpp"
#include "runtime/telemetry/trace.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>

namespace millrace::environments {
namespace {

using openai::request_error;

constexpr std::size_t most_ended = 100'000; ///< sessions that have ended and are remembered
constexpr const char* run_has_ended = "the run has ended";
constexpr std::size_t longest_name = 200; ///< bytes of a session's name
constexpr double largest_reward = 1e9;    ///< sums and advantages of such rewards are finite
constexpr const char* letters_of_names = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.:@";

std::string seconds_of(std::chrono::milliseconds time) {
  return telemetry::in_seconds(std::chrono::duration<double>(time).count());
}

[[noreturn]] void refuse_gone(const std::string& session, const std::string& why) {
  throw request_error(410, "episode " + session + ": " + why);
}

} // namespace

// -- what the run asks ------------------------------------------------------------------------------------------------

void client_sessions::begin(group_attempt which, const episode_row& row, std::int32_t answers, opened_to done) {
  if (closed_)
    return done({}, run_has_ended);
  if (!std::exchange(begun_, true))
    telemetry::log_info("endpoint", "clients find episodes at " + url_ + "/v1");
  group fresh{.row = row, .seats = {}, .opening = std::move(done), .since = clock::now(), .begins = {}};
  fresh.seats.resize(static_cast<std::size_t>(answers));
  groups_.insert_or_assign(which, std::move(fresh));
  for (std::int32_t i = 0; i < answers; ++i)
    free_.push_back({which, i});
  seat_those_in_line();
  note_wait(false);
}

void client_sessions::take(const episode_id& which, written_turn turn, said_to done) {
  auto* here = find(which);
  if (!here || here->over)
    return done({}, "no such episode is here");
  here->turn = awaited_turn{.turn = std::move(turn), .done = std::move(done), .since = clock::now()};
  give(*here);
  note_wait(false);
}

void client_sessions::over(const episode_id& which) {
  if (auto* here = find(which); here && !here->over)
    finish(*here, "no room is left for another turn");
  note_wait(false);
}

void client_sessions::end(group_attempt which) {
  if (const auto found = groups_.find(which); found != groups_.end())
    finish_group(found, "its group has ended");
  note_wait(false);
}

void client_sessions::finish(seat& here, const std::string& why) {
  here.over = true;
  if (here.session.empty())
    return;
  if (const auto open = std::exchange(here.open, {}); open && open->waits())
    open->out.refused(request_error(410, "episode " + here.session + ": " + why));
  end_session(here.session, why);
}

void client_sessions::end_session(const std::string& session, const std::string& why) {
  sessions_.erase(session);
  ended_.insert_or_assign(session, why);
  ended_order_.push_back(session);
  if (ended_order_.size() > most_ended) {
    ended_.erase(ended_order_.front());
    ended_order_.pop_front();
  }
}

void client_sessions::finish_group(std::map<group_attempt, group>::iterator at, const std::string& why) {
  auto [which, of] = std::move(*at);
  groups_.erase(at);
  std::erase_if(free_, [&which = which](const episode_id& one) { return one.group == which; });
  for (auto& here : of.seats)
    if (!here.over)
      finish(here, why);
  if (of.opening)
    of.opening({}, why);
  for (auto& here : of.seats)
    if (here.turn)
      here.turn->done({}, why);
}

std::string client_sessions::overdue(const seat& here, std::int32_t answer) const {
  const auto within = " within " + seconds_of(settings_.deadline);
  if (here.session.empty())
    return "no client took answer " + std::to_string(answer) + " at " + url_ + within;
  return "the client of episode " + here.session + " did not go on" + within;
}

void client_sessions::look_for_overdue() {
  const auto before = clock::now() - settings_.deadline;
  std::vector<group_attempt> late;
  for (auto& [which, of] : groups_) {
    if (of.opening && of.since < before)
      late.push_back(which);
    for (std::int32_t i = 0; i < std::ssize(of.seats); ++i) {
      auto& here = of.seats[static_cast<std::size_t>(i)];
      if (here.turn && here.turn->asked_on && *here.turn->asked_on + settings_.reward_wait < clock::now())
        end_by_client(here, "it has ended with its last turn");
      if (!here.turn || here.turn->asked_on || here.turn->since >= before)
        continue;
      std::erase(free_, episode_id{which, i});
      const auto why = overdue(here, i);
      finish(here, "its client did not go on in time");
      std::exchange(here.turn, {})->done({}, why);
    }
  }
  for (const auto& which : late) {
    const auto found = groups_.find(which);
    std::exchange(found->second.opening,
                  {})({}, "no client began at " + url_ + " within " + seconds_of(settings_.deadline));
    finish_group(found, "no request began it in time");
  }
  while (!line_.empty() && (!line_.front().from.waits() || line_.front().since + settings_.seat_wait < clock::now())) {
    if (line_.front().from.waits())
      line_.front().from.out.refused(request_error(429, "no episode waits for a client within "
                                                            + seconds_of(settings_.seat_wait) + "; try again"));
    line_.pop_front();
  }
  note_wait(false);
}

void client_sessions::close() {
  closed_ = true;
  for (const auto& one : std::exchange(line_, {}))
    if (one.from.waits())
      one.from.out.refused(request_error(503, run_has_ended));
  for (auto& [which, of] : groups_)
    for (auto& here : of.seats)
      if (const auto open = std::exchange(here.open, {}); open && open->waits())
        open->out.refused(request_error(503, run_has_ended));
  if (wait_key_)
    telemetry::process_waits().end(*std::exchange(wait_key_, {}));
}

// -- what clients ask -------------------------------------------------------------------------------------------------

client_sessions::seat* client_sessions::find(const episode_id& which) {
  const auto found = groups_.find(which.group);
  return found == groups_.end() || which.answer < 0 || which.answer >= std::ssize(found->second.seats)
             ? nullptr
             : &found->second.seats[static_cast<std::size_t>(which.answer)];
}

episode_id client_sessions::of_session(const std::string& session) const {
  if (const auto found = sessions_.find(session); found != sessions_.end())
    return found->second;
  if (const auto found = ended_.find(session); found != ended_.end())
    refuse_gone(session, found->second);
  throw request_error(404, "episode " + session + ": this run gave nobody that id");
}

void client_sessions::stand_in_line(in_line one) {
  line_.push_back(std::move(one));
  seat_those_in_line();
  note_wait(true);
}

void client_sessions::seat_those_in_line() {
  while (!line_.empty()) {
    if (!line_.front().from.waits()) {
      line_.pop_front();
      continue;
    }
    const auto known = sessions_.find(line_.front().session);
    if (known == sessions_.end() && free_.empty())
      return;
    auto first = std::move(line_.front());
    line_.pop_front();
    auto which = known == sessions_.end() ? free_.front() : known->second;
    if (known == sessions_.end()) {
      free_.pop_front();
      auto& here = *find(which);
      here.session = first.session.empty() ? openai::fresh_id("ep-") : first.session;
      sessions_.emplace(here.session, which);
    }
    try {
      first.seated(which);
    } catch (const request_error& why) {
      first.from.out.refused(why);
    }
  }
}

void client_sessions::accept(const episode_id& which, open_request request) {
  auto& of = groups_.at(which.group);
  auto& here = of.seats[static_cast<std::size_t>(which.answer)];
  const auto& asked = *request.asked;
  note_sampling(asked);
  if (here.heard.empty()) {
    accept_first(of, here, asked);
  } else if (asked.tools != of.begins.tools) {
    throw request_error(409, "tools: found others than those that the group's first request offered", "tools");
  } else if (asked.messages != here.heard) {
    accept_next(here, asked);
  }
  if (const auto older = std::exchange(here.open, std::move(request)); older && older->waits())
    older->out.refused(request_error(409, "the same request came again: that one is answered"));
  give(here);
}

void client_sessions::accept_first(group& of, seat& here, const openai::completion_request& asked) {
  check_roles(asked.messages, 0, true);
  if (!of.opening) {
    const auto& begins = of.begins;
    if (const auto where = difference(begins.prompt, asked.messages))
      throw request_error(409, *where + ": the episodes of a group begin alike", "messages");
    if (asked.messages.size() > begins.prompt.size())
      throw request_error(409,
                          "messages: found " + std::to_string(asked.messages.size()) + ", want the "
                              + std::to_string(begins.prompt.size()) + " that the group's other episodes begin with",
                          "messages");
    if (asked.tools != begins.tools)
      throw request_error(409, "tools: found others than those that the group's first request offered", "tools");
  }
  here.heard = asked.messages;
  if (of.opening) {
    of.begins = {.prompt = asked.messages, .tools = asked.tools};
    std::exchange(of.opening, {})(of.begins, {});
  }
}

/// What is said to the last turn, where the request repeats all before it.
saying client_sessions::continued(seat& here, const openai::completion_request& asked) {
  const auto said = std::ssize(here.heard) + 1;
  if (std::ssize(asked.messages) == said)
    throw request_error(400, "messages: found none behind the last turn, want what is said to it", "messages");
  check_roles(asked.messages, static_cast<std::size_t>(said), false);
  return {.messages = {asked.messages.begin() + said, asked.messages.end()}};
}

void client_sessions::accept_next(seat& here, const openai::completion_request& asked) {
  if (!here.turn || !here.turn->given)
    throw request_error(
        409, "found other messages while the turn to the request before them is written, want one request at a time",
        "messages");
  auto said = here.heard;
  said.push_back(as_message(here.turn->turn));
  const auto differs = difference(said, asked.messages);
  auto what = differs ? rewritten_by(asked, here.written) : continued(here, asked);
  if (differs && noted_.insert("rewritten").second)
    telemetry::log_info("endpoint", "the client of episode " + here.session + " has rewritten its history (" + *differs
                                        + "): the episode goes on with a new segment. Others are not named");
  if (here.turn->turn.last) {
    here.turn->asked_on = here.turn->asked_on.value_or(clock::now());
    refuse_gone(here.session,
                "it has ended with its last turn; a reward for it is taken for " + seconds_of(settings_.reward_wait));
  }
  auto replied = *std::exchange(here.turn, {});
  what.reward = std::exchange(here.reward, 0);
  here.heard = asked.messages;
  replied.done(std::move(what), {});
}

void client_sessions::give(seat& here) {
  if (!here.open || !here.open->waits() || !here.turn)
    return;
  const auto open = *std::exchange(here.open, {});
  if (!here.turn->given) {
    ++here.turns;
    here.written.emplace_back(as_message(here.turn->turn), here.turn->turn.text);
  }
  here.turn->given = true;
  send_turn(here.turn->turn, *open.asked, open.out);
}

client_sessions::reward_posted client_sessions::reward_in(std::string_view body) {
  nlohmann::json object;
  try {
    object = formats::parse_json(body, "");
  } catch (const input_error& why) {
    throw request_error(400, "the body is no JSON: " + std::string(why.what()));
  }
  if (!object.is_object())
    throw request_error(400, R"(the body: want {"reward": number, "done": true or false})");
  reward_posted found;
  const auto reward = object.find("reward");
  const bool has_reward = reward != object.end() && !reward->is_null();
  if (has_reward) {
    if (!reward->is_number() || !(std::abs(reward->get<double>()) <= largest_reward))
      throw request_error(
          400, "reward: found " + formats::json_line(*reward).substr(0, 60) + ", want a number from -1e9 to 1e9",
          "reward");
    found.reward = reward->get<double>();
  }
  if (const auto done = object.find("done"); done != object.end() && !done->is_null()) {
    if (!done->is_boolean())
      throw request_error(400, "done: found " + formats::json_line(*done).substr(0, 60) + ", want true or false",
                          "done");
    found.done = done->get<bool>();
  }
  if (!has_reward && !found.done)
    throw request_error(400, "found no reward and an episode that goes on, want one of them", "reward");
  return found;
}

std::string client_sessions::rewarded(const std::string& session, const reward_posted& what) {
  const auto which = of_session(session);
  auto& here = *find(which);
  if (here.heard.empty() && !what.reward) {
    give_back(which);
    return formats::json_line({{"id", session}, {"done", true}});
  }
  if (here.turns == 0)
    throw request_error(400, "episode " + session + ": found a reward before its first turn");
  if (!here.turn || !here.turn->given)
    throw request_error(409, "episode " + session + ": its next turn is being written: a reward is of the last one");
  here.reward += what.reward.value_or(0);
  if (what.done)
    end_by_client(here, "it is done");
  note_wait(true);
  return formats::json_line({{"id", session}, {"done", what.done}});
}

/// The client has had its last turn, and given its rewards.
void client_sessions::end_by_client(seat& here, const std::string& why) {
  finish(here, why);
  std::exchange(here.turn, {})->done({.reward = here.reward, .done = true}, {});
}

/// A seat whose client has asked nothing is there for another one.
void client_sessions::give_back(const episode_id& which) {
  auto& here = *find(which);
  end_session(std::exchange(here.session, {}), "it was given back");
  free_.push_back(which);
  seat_those_in_line();
}

/// @param act what is done for a request, behind this call
std::shared_ptr<void> client_sessions::later(openai::reply_way out, std::function<void(open_request)> act) {
  const auto client = std::make_shared<bool>();
  const auto on_thread = out.on_thread;
  on_thread([this, act = std::move(act), request = open_request{.asked = {}, .out = std::move(out), .client = client}] {
    if (!request.waits())
      return;
    try {
      if (closed_)
        throw request_error(503, run_has_ended);
      act(request);
    } catch (const request_error& why) {
      request.out.refused(why);
    } catch (const std::exception& fault) {
      request.out.refused(request_error(500, std::string("internal error: ") + fault.what()));
    }
    note_wait(true);
  });
  return client;
}

std::shared_ptr<void> client_sessions::ask_for_seat(openai::reply_way out) {
  return later(std::move(out), [this](const open_request& from) {
    stand_in_line({.session = {},
                   .seated =
                       [this, out = from.out](const episode_id& which) {
                         const auto& of = groups_.at(which.group);
                         const auto& here = of.seats[static_cast<std::size_t>(which.answer)];
                         out.whole(episode_text(here.session, of.row));
                       },
                   .from = from,
                   .since = clock::now()});
  });
}

std::shared_ptr<void> client_sessions::chat(const std::string& session, bool by_path, std::string_view body,
                                            openai::reply_way out) {
  if (session.empty())
    throw request_error(400, "found no episode, want " + url_
                                 + "/v1/episodes/ID as the client's base_url, or the field X-Session-Id; a request of "
                                   "no episode is for a rollout's `serve`");
  if (session.size() > longest_name || session.find_first_not_of(letters_of_names) != std::string::npos)
    throw request_error(400, "X-Session-Id: want 1 to " + std::to_string(longest_name)
                                 + " letters, digits, '-', '_', '.', ':' or '@'");
  const auto asked = std::make_shared<const openai::completion_request>(
      openai::read_completion_request(body, true, session_defaults()));
  return later(std::move(out), [this, session, by_path, asked](open_request request) {
    request.asked = asked;
    if (by_path || sessions_.contains(session) || ended_.contains(session))
      return accept(of_session(session), std::move(request));
    stand_in_line({.session = session,
                   .seated = [this, request](const episode_id& which) { accept(which, request); },
                   .from = request,
                   .since = clock::now()});
  });
}

std::shared_ptr<void> client_sessions::answer(const openai::request& asked, openai::reply_way out) {
  constexpr std::string_view episodes = "/v1/episodes/";
  const auto path = asked.path;
  const bool by_path = path.starts_with(episodes);
  std::string session(asked.session);
  auto route = path;
  if (by_path) {
    const auto end = std::min(path.find('/', episodes.size()), path.size());
    session = path.substr(episodes.size(), end - episodes.size());
    route = path.substr(end);
  } else if (path.starts_with("/v1/")) {
    route = path.substr(3);
  }
  const bool reads = route == "/health" || route.starts_with("/models");
  const bool posts = route == "/chat/completions" || (route == "/reward" && by_path) || path == "/v1/episodes";
  if (route == "/completions")
    throw request_error(400, std::string(path) + ": want chat/completions: an episode is a conversation");
  if (!(reads || posts))
    throw request_error(404, "want /v1/episodes, /v1/episodes/ID/chat/completions, /v1/episodes/ID/reward, "
                             "/v1/chat/completions, /v1/models or /health");
  if (asked.method != (reads ? "GET" : "POST"))
    throw request_error(405, "want " + std::string(reads ? "GET " : "POST ") + std::string(path));
  if (path == "/v1/episodes")
    return ask_for_seat(std::move(out));
  if (route == "/chat/completions")
    return chat(session, by_path, asked.body, std::move(out));
  if (route == "/reward")
    return later(std::move(out), [this, session, what = reward_in(asked.body)](const open_request& from) {
      from.out.whole(rewarded(session, what));
    });
  out.whole(route == "/health"   ? openai::health_text
            : route == "/models" ? openai::models_text(policy_name, 0, 0)
                                 : openai::model_text(policy_name, 0, 0));
  return nullptr;
}

void client_sessions::note_sampling(const openai::completion_request& asked) {
  for (const auto& field : sampling_fields(asked))
    if (noted_.insert(field).second)
      telemetry::log_warning("endpoint", "requests say " + field + ": the pipeline's sampling holds");
}

void client_sessions::note_wait(bool client_was_here) {
  std::size_t without = 0, silent = 0;
  for (const auto& [which, of] : groups_)
    for (const auto& here : of.seats) {
      const bool waits = of.opening || (here.turn && !here.open);
      without += waits && here.session.empty() ? 1 : 0;
      silent += waits && !here.session.empty() ? 1 : 0;
    }
  const auto what = without + silent == 0 ? std::string()
                                          : "clients: episodes to take " + std::to_string(without) + ", to go on with "
                                                + std::to_string(silent);
  const double now = telemetry::now_s();
  if (client_was_here || wait_.empty())
    wait_since_s_ = now;
  if (what == wait_ && !client_was_here)
    return;
  wait_ = what;
  if (wait_key_)
    telemetry::process_waits().end(*std::exchange(wait_key_, {}));
  if (!what.empty())
    wait_key_ = telemetry::process_waits().begin(
        {.who = "endpoint " + url_, .what = what, .since_s = wait_since_s_, .kind = wait_kind::other});
}

} // namespace millrace::environments
