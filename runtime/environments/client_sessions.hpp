#pragma once

#include "runtime/environments/environment.hpp"
#include "runtime/openai/reply_text.hpp"
#include "runtime/openai/service.hpp"
#include "runtime/telemetry/waits.hpp"

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::environments {

struct session_settings {
  std::chrono::milliseconds deadline{0};      ///< for a client to take an episode, and for each of its requests
  std::chrono::milliseconds seat_wait{10000}; ///< for an episode to be there that nobody has; then 429
  /// For a reward behind the last turn, once its client has asked for one more and was refused.
  std::chrono::milliseconds reward_wait{10000};
};

/// Episodes whose other side are clients that ask for chat completions. Everything on one thread, the server's.
///
/// An episode is a seat that a client takes; the two are then a session. A request ends with what the environment says
/// to the last turn, and the next turn is its reply.
///
/// Invariants
/// - CS-1: the messages of a session only grow: what was said and what was replied stay as they were.
/// - CS-2: a request that comes again is told the same turn.
/// - CS-3: a request that is open is answered: with a turn, or with one line once the episode cannot go on.
class client_sessions final : public openai::service {
public:
  explicit client_sessions(session_settings settings) : settings_(std::move(settings)) {}

  /// Where clients find it: for what they are told.
  void is_at(const std::string& url) { url_ = url; }

  // As `environment` has them.
  void begin(group_attempt which, const episode_row& row, std::int32_t answers, opened_to done);
  void take(const episode_id& which, written_turn turn, said_to done);
  void over(const episode_id& which);
  void end(group_attempt which);

  /// Ends what has waited for longer than the deadline.
  void look_for_overdue();

  /// The run ends: whoever waits is told so.
  void close();

  std::shared_ptr<void> answer(const openai::request& asked, openai::reply_way out) override;

private:
  using clock = std::chrono::steady_clock;

  /// A request that waits for its turn.
  struct open_request {
    std::shared_ptr<const openai::completion_request> asked;
    openai::reply_way out;
    std::weak_ptr<void> client; ///< gone: the client is

    bool waits() const { return !client.expired(); }
  };

  /// A turn that the policy wrote and the environment has said nothing to.
  struct awaited_turn {
    written_turn turn;
    said_to done;
    clock::time_point since;
    bool given = false;                             ///< to the client
    std::optional<clock::time_point> asked_on = {}; ///< it is the last, and the client asked for another one
  };

  struct seat {
    std::string session;                                    ///< its name; "": nobody has it
    std::vector<chat_turn> heard;                           ///< the messages of the newest request
    std::vector<std::pair<chat_turn, std::string>> written; ///< turns, as requests repeat them and as they were sampled
    std::optional<open_request> open;
    std::optional<awaited_turn> turn;
    std::int64_t turns = 0; ///< that were given
    double reward = 0;      ///< since the last turn was replied to
    bool over = false;
  };

  struct group {
    episode_row row;
    std::vector<seat> seats;
    opened_to opening; ///< empty once it is called
    clock::time_point since;
    beginning begins;
  };

  /// Who wants a seat.
  struct in_line {
    std::string session; ///< "": any name
    std::function<void(const episode_id&)> seated;
    open_request from;
    clock::time_point since;
  };

  struct reward_posted {
    std::optional<double> reward;
    bool done = true;
  };

  static reward_posted reward_in(std::string_view body);

  std::shared_ptr<void> later(openai::reply_way out, std::function<void(open_request)> act);
  std::shared_ptr<void> ask_for_seat(openai::reply_way out);
  std::shared_ptr<void> chat(const std::string& session, bool by_path, std::string_view body, openai::reply_way out);
  std::string rewarded(const std::string& session, const reward_posted& what);
  void end_by_client(seat& here, const std::string& why);
  void give_back(const episode_id& which);

  /// @throws openai::request_error 404 or 410 where it has none
  episode_id of_session(const std::string& session) const;
  seat* find(const episode_id& which);
  void stand_in_line(in_line one);
  void seat_those_in_line();
  void accept(const episode_id& which, open_request request);
  void accept_first(group& of, seat& here, const openai::completion_request& asked);
  void accept_next(seat& here, const openai::completion_request& asked);
  saying continued(seat& here, const openai::completion_request& asked);
  void give(seat& here);
  void finish(seat& here, const std::string& why);
  void end_session(const std::string& session, const std::string& why);
  void finish_group(std::map<group_attempt, group>::iterator at, const std::string& why);
  std::string overdue(const seat& here, std::int32_t answer) const;
  void note_sampling(const openai::completion_request& asked);
  void note_wait(bool client_was_here);

  session_settings settings_;
  std::string url_;
  std::map<group_attempt, group> groups_;
  std::deque<episode_id> free_; ///< seats that nobody has, and perhaps some that are gone
  std::map<std::string, episode_id, std::less<>> sessions_;
  std::map<std::string, std::string, std::less<>> ended_; ///< sessions that have ended, and why; the newest
  std::deque<std::string> ended_order_;
  std::deque<in_line> line_;
  std::set<std::string> noted_; ///< fields of requests that people were told of
  std::string wait_;            ///< what is noted of it
  double wait_since_s_ = 0;
  std::optional<telemetry::wait_table::key> wait_key_;
  bool begun_ = false, closed_ = false;
};

} // namespace millrace::environments
