#pragma once

#include "runtime/environments/environment.hpp"
#include "runtime/messages/episodes.hpp"
#include "runtime/pipeline/environment_table.hpp"
#include "runtime/roles/dialogue.hpp"
#include "runtime/rollout/engine.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

namespace millrace::roles {

/// The other side of an evaluation's episodes. A group is a row, by its number. What an environment says comes from
/// other threads and is taken here by the thread that decodes.
class evaluation_episodes {
public:
  struct opening {
    std::uint64_t group = 0;
    environments::beginning begins;
    std::string error; ///< "": the beginning is good
  };

  struct reply {
    rollout::ended_turn turn;
    turn_taken said;
    std::string error; ///< likewise
  };

  struct arrivals {
    std::vector<opening> opened;
    std::vector<reply> replies;
  };

  /// @param thoughts_left_out by the model's chat template, of earlier turns
  evaluation_episodes(environments::environment& plays, const pipeline::environment_table& table,
                      bool thoughts_left_out);
  ~evaluation_episodes(); ///< ends what is open

  void begin(std::uint64_t group, const environments::episode_row& row, std::int32_t answers, std::uint64_t seed);
  /// @param read the turn, its calls apart; where tools are offered
  void take(const rollout::ended_turn& turn, called_turn read);
  void end(std::uint64_t group);

  /// What came since it was asked last. @param wait until something comes, or a stop is asked for
  arrivals arrived(bool wait, const std::stop_token& stop);

  /// The tools that a group's prompt offers.
  const std::vector<std::string>& tools(std::uint64_t group) const;

  std::size_t open() const { return open_.size(); } ///< groups that have begun and have not ended

private:
  struct inbox;

  /// What the decoding thread knows of a group that has begun and has not ended.
  struct open_group {
    std::int32_t answers = 0;
    std::vector<std::string> tools = {};
    std::map<std::int32_t, dialogue> spoken = {}; ///< of each answer, where replies come with it
  };

  environments::environment& plays_;
  const pipeline::environment_table& table_;
  bool with_history_;
  std::map<std::uint64_t, open_group> open_;
  std::shared_ptr<inbox> inbox_;
};

} // namespace millrace::roles
