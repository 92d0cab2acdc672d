#pragma once

#include "runtime/columns/prompt_columns.hpp"
#include "runtime/environments/environment.hpp"
#include "runtime/pipeline/environment_table.hpp"
#include "runtime/roles/abilities.hpp"
#include "runtime/roles/job_thread.hpp"
#include "runtime/roles/role_setup.hpp"

#include <cstddef>
#include <memory>
#include <string>

namespace millrace::roles {

/// The environment of a table, with what it needs outside this process.
/// @throws pipeline::pipeline_errors where it cannot be used, at its place in the pipeline's file
std::unique_ptr<environments::environment> started(const pipeline::environment_table& table,
                                                   const pipeline::pipeline& p, const std::string& role);

/// A row of the data, for an environment.
environments::episode_row episode_row_of(const columns::prompt_content& content);

/// What the policy is told of what an environment said: nothing after the `last` turn, which ends the episode, and at
/// most `max_bytes` bytes, cut at the end of a character.
turn_taken bounded_reply(environments::saying said, bool last, std::size_t max_bytes);

/// `kind = "environment"`: keeps the books of episodes around an environment of some type. It knows which turn each
/// episode is at, ends those that have had `max_turns`, and remembers the last reply to each, so that whoever takes an
/// answer over is told the same (EN-2). What is longer than `max_reply_bytes` is cut.
class environment_role : public environment, public outward {
public:
  environment_role(const role_setup& setup, const pipeline::environment_table& table,
                   std::unique_ptr<environments::environment> plays);
  ~environment_role() override;

  void begin(const begin_episodes& ask, answer_to<episodes_begun> done) override;
  void take(const take_turn& ask, answer_to<turn_taken> done) override;
  void end(const end_episodes& ask) override;
  void close() override;

private:
  struct state;

  std::shared_ptr<state> state_;
  std::unique_ptr<job_thread> requests_; ///< the books are kept there
};

} // namespace millrace::roles
