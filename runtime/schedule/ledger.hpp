#pragma once

#include "runtime/schedule/action.hpp"

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace millrace::schedule {

/// Where a live group is.
enum class group_state : std::uint8_t {
  queued,     ///< has its id, waits for a worker to be generated again, or to go on with what it has
  parked,     ///< kept for a round of long answers
  generating, ///< on a worker
  finished,   ///< generated; columns are missing
  ready,      ///< every column is there
  training,   ///< in a batch
};

inline constexpr std::size_t group_states = 6;
inline constexpr std::size_t drop_reasons = 8;

std::string_view to_string(group_state state);

/// Where every group and every token went. Each group is in one of the live states, trained or dropped:
///
///     admitted  = live + trained + dropped by reason                    (groups)
///     generated = live + trained + dropped by reason + lost             (answer tokens reported)
///
/// Tokens are known once an attempt finishes, is handed over or fails. `lost`: sampled by attempts that are generated
/// again.
class ledger {
public:
  struct account {
    std::int64_t groups = 0;
    std::int64_t tokens = 0;

    bool operator==(const account&) const = default;
  };

  /// Every counter; `live` by state, `dropped` by reason.
  struct totals {
    std::array<account, group_states> live{};
    std::array<account, drop_reasons> dropped{};
    account trained;
    std::int64_t admitted = 0;  ///< groups
    std::int64_t generated = 0; ///< tokens
    std::int64_t lost = 0;      ///< tokens

    bool operator==(const totals&) const = default;
  };

  ledger() = default;

  explicit ledger(const totals& carried) : totals_(carried) {}

  /// A new group, `generating`.
  void admit();
  /// The group and its tokens go from one live state to another.
  void move(group_state from, group_state to, std::int64_t tokens);
  /// Tokens reported for a group in state `in`.
  void generate(group_state in, std::int64_t tokens);
  /// The group goes to another live state without its tokens: they are lost.
  void lose(group_state from, group_state to, std::int64_t tokens);
  /// A group of the batch was trained.
  void train(std::int64_t tokens);
  /// Tokens that were sampled and belong to no group's answers from the beginning.
  void spend(drop_reason reason, std::int64_t tokens);
  /// Tokens of a live group's answers that are not kept: surplus.
  void cut_off(group_state in, std::int64_t tokens);
  /// Tokens of trained groups that had no part in the loss.
  void mask(std::int64_t tokens);
  void drop(group_state from, drop_reason reason, std::int64_t tokens);
  /// Somebody else's books say otherwise: `check` returns the first such sentence from now on.
  void dispute(std::string sentence);

  const totals& sums() const { return totals_; }

  const account& live(group_state state) const { return totals_.live[static_cast<std::size_t>(state)]; }

  const account& dropped(drop_reason reason) const { return totals_.dropped[static_cast<std::size_t>(reason)]; }

  account live() const;
  account dropped() const;

  const account& trained() const { return totals_.trained; }

  /// Empty when both sums above hold and nothing was disputed; else one sentence that says what does not close.
  std::string check() const;

private:
  totals totals_;
  std::string dispute_;
};

} // namespace millrace::schedule
