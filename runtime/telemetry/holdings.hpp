#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace millrace::telemetry {

/// One attempt of a group.
struct held_group {
  std::uint64_t group = 0;
  std::uint32_t attempt = 0;

  auto operator<=>(const held_group&) const = default;
};

/// What a role says that it works on.
struct holding {
  std::string who;              ///< "rollout/1"
  std::uint64_t asked = 0;      ///< groups that it has been asked for since it began: the list knows of those and of no later ones
  std::vector<held_group> held; ///< ascending; asked for and not answered, refused or cancelled

  bool operator==(const holding&) const = default;
};

/// What the roles of one process hold. Thread-safe.
class holdings_table {
public:
  /// A life of the role begins: it has been asked for nothing.
  void begin(const std::string& who);
  /// `who` has been asked for an attempt; it replaces an earlier one of the group.
  void take(const std::string& who, held_group what);
  /// The answer is sent. Another attempt of the group stays.
  void leave(const std::string& who, held_group what);
  /// The group is cancelled, whatever the attempt.
  void leave(const std::string& who, std::uint64_t group);
  /// Of every role that began, by name.
  std::vector<holding> all() const;

private:
  struct role {
    std::uint64_t asked = 0;
    std::map<std::uint64_t, std::uint32_t> held; ///< group -> attempt
  };
  mutable std::mutex mutex_;
  std::map<std::string, role> roles_;
};

/// The holdings of this process.
holdings_table& process_holdings();

/// One role's own line of this process's table. A life of the role begins with it; copies are of the same life.
class holder {
public:
  explicit holder(std::string who) : who_(std::move(who)) { process_holdings().begin(who_); }

  void take(held_group what) const { process_holdings().take(who_, what); }
  void leave(held_group what) const { process_holdings().leave(who_, what); }
  void leave(std::uint64_t group) const { process_holdings().leave(who_, group); }

private:
  std::string who_;
};

/// An attempt that counts as being with a role: a credit is held for it.
struct expected_group {
  held_group what;
  std::uint64_t asked = 0; ///< how many the role had been asked for with it
  std::string as;          ///< "generating"
  double since_s = 0;      ///< `now_s()`
};

/// A group that counts as being with a role which does not have it.
struct vanished_group {
  std::string who;
  expected_group expected;
};

/// Holds what roles say against what counts as being with them.
///
/// A group has vanished when two reports of its role in a row do not have it. What is merely on its way is not taken for
/// vanished:
/// - the request: a report says how many requests the role had received when it was made, and one that was made before the
///   group's request arrived is not looked at for that group;
/// - the answer: a role leaves a group only after its answer is sent. An answer that was sent before the first report has
///   arrived when the second one, made a second later by the same process, does; and by then the group is not expected any
///   more. Only an answer that was lost, or never sent, is still missing.
/// Should one nevertheless come later, it is of an attempt that is void and changes nothing.
class vanished_groups {
public:
  /// @param expected of the role that `says` is from
  /// @returns those that have vanished; they are forgotten here
  std::vector<vanished_group> compare(const holding& says, std::span<const expected_group> expected);
  /// Missing in the last report of their role: the next one decides.
  std::vector<vanished_group> suspected() const;
  /// The role is gone with all it had.
  void forget(const std::string& who) { missing_.erase(who); }

private:
  std::map<std::string, std::map<held_group, expected_group>> missing_; ///< by role
};

/// "group 4711 counts as generating on rollout/1, which does not have it: its credit is held since 28 s"
std::string in_words(const vanished_group& group, double at_s);

} // namespace millrace::telemetry
