#pragma once

#include "runtime/messages/weights.hpp"
#include "runtime/words/ids.hpp"
#include "runtime/words/role_instance.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace millrace::supervision {

/// One evaluation role, as the pipeline has it.
struct evaluation_node {
  std::string role;
  std::uint32_t every = 0; ///< versions; 0 = only the first and the last
  bool at_start = true;
};

/// Which version each evaluation role evaluates, and when. It uses no actor.
///
/// Invariants
/// - EP-1: a role evaluates one version at a time, and at most one more version waits: the newest that fell due. A
///   waiting version that a newer version displaces is counted as skipped.
/// - EP-2: the weights of a version are held while a role evaluates them or waits to, and no longer.
/// - EP-3: if an evaluation is lost with its process, it is not repeated. The evaluation of the last version is
///   repeated, up to `last_attempts` attempts in all.
class evaluation_plan {
public:
  static constexpr int last_attempts = 3;

  explicit evaluation_plan(std::vector<evaluation_node> roles = {});

  /// The learner holds `version`, and may train on at once.
  /// @param first it is the run's first version, or the one it goes on from
  /// @returns whether its weights are to be held and published
  bool reached(std::uint32_t version, bool first);

  /// The run is over at `version`: the roles that have not evaluated it yet are to. @returns as `reached`
  bool ended(std::uint32_t version);

  /// The version was evaluated before the resume.
  void known(const std::string& role, std::uint32_t version);

  void published(std::uint32_t version, const weight_shares& parameters);
  /// The version will not be published: evaluations that wait for it are skipped.
  void unpublished(std::uint32_t version);

  void up(const role_instance& who, std::uint64_t node);
  /// @returns the roles that lived there
  std::vector<role_instance> gone(std::uint64_t node);

  /// How an evaluation ended.
  enum class result { figures, nothing };

  /// The evaluation is over. @returns false if it is not one under way
  bool done(const role_instance& who, std::uint32_t version, result what);

  /// Starts nothing more and waits for no evaluation that is under way.
  void cancel();

  /// Whether the run may end.
  bool idle() const;

  struct running {
    role_instance who;
    std::uint32_t version = 0;
  };

  std::vector<running> under_way() const;

  /// Evaluations of `role` that gave no figures, by the reason.
  std::int64_t skipped(const std::string& role) const { return roles_.at(role).skipped; }

  std::int64_t lost(const std::string& role) const { return roles_.at(role).lost; }

  /// An evaluation to be started.
  struct start {
    role_instance who;
    version_id version = 0;
    weight_shares parameters;
  };

  /// What is to be done now, once: evaluations to start, and versions whose weights are needed no more.
  std::vector<start> take_starts();
  std::vector<std::uint32_t> take_released();

  /// Whether an evaluation needs the weights of this version, now or later.
  bool holds(std::uint32_t version) const { return held_.contains(version); }

private:
  struct role_state {
    evaluation_node node;
    std::optional<std::pair<role_instance, std::uint64_t>> alive; ///< and its data-plane node
    std::optional<std::uint32_t> running;
    std::optional<std::uint32_t> waiting;
    std::optional<std::uint32_t> evaluated; ///< the last version with figures
    int attempts = 0;                       ///< at the last version
    std::int64_t skipped = 0, lost = 0;
  };

  bool want(role_state& role, std::uint32_t version);
  void release_unused();
  bool used(std::uint32_t version) const;

  std::map<std::string, role_state> roles_;
  std::map<std::uint32_t, std::optional<weight_shares>> held_; ///< by version; without a ticket: not published yet
  std::vector<std::uint32_t> released_;
  std::optional<std::uint32_t> last_;
};

} // namespace millrace::supervision
