#pragma once

#include "runtime/words/group_attempt.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

namespace millrace::telemetry {

/// The groups that a role says it works on.
struct in_flight_report {
  std::string who;                 ///< "rollout/1"
  std::uint64_t asked = 0;         ///< groups that the role was asked for since it started: `held` knows no later ones
  std::vector<group_attempt> held; ///< ascending; asked for and not yet answered, refused or cancelled

  bool operator==(const in_flight_report&) const = default;
};

/// The groups that the roles of one process work on. Thread-safe.
class in_flight_table {
public:
  /// A life of the role starts: nobody has asked it for a group yet.
  void start(const std::string& who);
  /// Somebody asked `who` for an attempt, which replaces an earlier attempt of the group.
  void begin(const std::string& who, group_attempt what);
  /// The answer to this attempt is sent. Another attempt of the group stays.
  void end(const std::string& who, group_attempt what);
  /// The group is cancelled, whatever the attempt.
  void end(const std::string& who, group_id group);
  /// One report for each role that started, by name.
  std::vector<in_flight_report> all() const;

private:
  struct role {
    std::uint64_t asked = 0;
    std::map<group_id, attempt_number> held;
  };

  mutable std::mutex mutex_;
  std::map<std::string, role> roles_;
};

/// The table of this process.
in_flight_table& process_in_flight();

/// One role's own line of this process's table. Constructing it starts a life of the role; copies belong to that life.
class in_flight_groups {
public:
  explicit in_flight_groups(std::string who);

  void begin(group_attempt what) const { process_in_flight().begin(who_, what); }

  void end(group_attempt what) const { process_in_flight().end(who_, what); }

  void end(group_id group) const { process_in_flight().end(who_, group); }

private:
  std::string who_;
};

/// Begins a group and ends it when the last copy of this guard is gone, so that no way out of a handler forgets it.
///
/// A role keeps a copy beside whatever will answer: the lambda that delivers the answer, the job, the stack. The order
/// is then right by itself: the answer is sent inside the lambda, and the lambda's captures go after it. An answer
/// that gets lost with its lambda also ends the group, and the coordinator notices that the group has vanished.
class in_flight_guard {
public:
  in_flight_guard(const in_flight_groups& groups, group_attempt what);

  /// From here on somebody else ends the group, with `in_flight_groups::end`: an engine that calls back, say.
  void hand_over() const;

private:
  struct open_group;
  std::shared_ptr<open_group> open_;
};

/// An attempt that the coordinator expects a role to work on: it holds a credit for it.
struct expected_group {
  group_attempt what;
  std::uint64_t asked = 0; ///< how many groups the role had been asked for with this one
  std::string as;          ///< "generating"
  double since_s = 0;      ///< `now_s()`
};

/// A group that a role is expected to work on and does not have.
struct vanished_group {
  std::string who;
  expected_group expected;
};

/// Compares what roles report with what the coordinator expects of them.
///
/// A group has vanished when two reports of its role in a row do not have it. A group that is merely on its way does
/// not count as vanished:
/// - The request is on its way. A report says how many requests the role had received. A report from before the
///   group's request is not consulted for that group.
/// - The answer is on its way. A role ends a group only after it sent the answer. If the answer was sent before the
///   first report, it arrives before the second, which the same process sends a second later; then nobody expects the
///   group any more. Only an answer that was lost, or never sent, is still missing.
///
/// If the answer comes after all, it belongs to an attempt that is void, and changes nothing.
class vanished_groups {
public:
  /// @param report of one role
  /// @param expected of that role
  /// @returns the groups that have vanished; this object forgets them
  std::vector<vanished_group> compare(const in_flight_report& report, std::span<const expected_group> expected);
  /// The groups that the last report of their role did not have: the next report decides.
  std::vector<vanished_group> suspected() const;

  /// The role is gone with all its groups.
  void forget(const std::string& who) { missing_.erase(who); }

private:
  std::map<std::string, std::map<group_attempt, expected_group>> missing_; ///< by role
};

/// "group 4711 counts as generating on rollout/1, which does not have it: its credit is held since 28 s"
std::string in_words(const vanished_group& group, double at_s);

} // namespace millrace::telemetry
