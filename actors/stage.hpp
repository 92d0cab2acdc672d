#pragma once

#include "actors/role_instance.hpp"
#include "actors/source.hpp"
#include "runtime/cluster/wire.hpp"

#include <caf/typed_actor.hpp>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace millrace::actors {

// -- messages -----------------------------------------------------------------

/// A group whose columns a role may read. coordinator -> any role between rollout and policy.
struct process_group {
  std::uint64_t group = 0;
  std::uint32_t attempt = 0;
  std::string answer;                     ///< the row's expected answer
  std::vector<transport::ticket> columns; ///< what roles upstream added
  std::vector<chat_turn> prompt;          ///< the row's conversation
};

template <class Inspector>
auto inspect(Inspector& f, process_group& x) {
  return f(caf::meta::type_name("process_group"), x.group, x.attempt, x.answer, x.columns, x.prompt);
}

/// Answers `process_group` with what the role adds.
struct group_columns {
  std::uint64_t group = 0;
  std::uint32_t attempt = 0;
  transport::ticket columns;
  std::map<std::string, double> summary; ///< means worth a metric, e.g. "reward", "reward.number"
  std::string complaint;                 ///< not empty: the group cannot be used, and why
  double busy_s = 0;
};

template <class Inspector>
auto inspect(Inspector& f, group_columns& x) {
  return f(caf::meta::type_name("group_columns"), x.group, x.attempt, x.columns, x.summary, x.complaint, x.busy_s);
}

// -- protocol -----------------------------------------------------------------

/// What every role that reads and adds columns speaks: rule_verifier and reference today; a reward model, a critic or an
/// environment is one more actor behind this protocol and one more row in `role_table`.
///
/// Invariants
/// - ST-1: every `process_group` is answered exactly once, by columns or an error.
/// - ST-2: heavy work runs on threads of its own; the mailbox is always free.
using stage_actor = caf::typed_actor<caf::replies_to<process_group>::with<group_columns>>;

} // namespace millrace::actors
