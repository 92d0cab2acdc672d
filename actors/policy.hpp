#pragma once

#include "actors/role_instance.hpp"
#include "runtime/cluster/wire.hpp"
#include "runtime/train/age_mask.hpp"

#include <caf/typed_actor.hpp>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace millrace::actors {

// -- messages -----------------------------------------------------------------

/// Take a group's columns into the learner's own process. coordinator -> policy.
struct fetch_group {
  std::uint64_t group = 0;
  std::uint32_t attempt = 0;
  std::vector<transport::ticket> columns;
  std::string domain; ///< of the row: its data_source
};

template <class Inspector>
auto inspect(Inspector& f, fetch_group& x) {
  return f(caf::meta::type_name("fetch_group"), x.group, x.attempt, x.columns, x.domain);
}

/// Answers `fetch_group`: from now on only the learner's own death can lose the group.
struct group_fetched {
  std::uint64_t group = 0;
  std::uint32_t attempt = 0;
  bool flat = false; ///< all its rewards are the same
};

template <class Inspector>
auto inspect(Inspector& f, group_fetched& x) {
  return f(caf::meta::type_name("group_fetched"), x.group, x.attempt, x.flat);
}

/// Drop a fetched group that will not be trained. coordinator -> policy.
struct forget_group {
  std::uint64_t group = 0;
};

template <class Inspector>
auto inspect(Inspector& f, forget_group& x) {
  return f(caf::meta::type_name("forget_group"), x.group);
}

/// One step, or one of its parts, over fetched groups. coordinator -> policy, critic.
struct train_batch {
  std::uint64_t step = 0;    ///< from 1
  std::uint32_t version = 0; ///< steps trained before this one: what staleness is counted against
  std::vector<std::uint64_t> groups; ///< empty: the step ends without a further part (`ends_step`)
  std::uint32_t part = 0;
  bool ends_step = true;
  train::age_mask mask = train::age_mask::none; ///< what is too old to be trained
  std::uint32_t train_from = 0;                 ///< the oldest version that is not
  transport::ticket returns;                    ///< to a critic, where only the policy can make its targets; else id 0
};

template <class Inspector>
auto inspect(Inspector& f, train_batch& x) {
  return f(caf::meta::type_name("train_batch"), x.step, x.version, x.groups, x.part, x.ends_step, x.mask, x.train_from, x.returns);
}

/// Answers `train_batch`.
struct batch_report {
  std::uint64_t step = 0;
  std::uint32_t part = 0;
  bool ends_step = true;
  bool interrupted = false;              ///< stopped between micro-batches: nothing was changed, the groups are kept
  bool skipped = false;                  ///< a loss or gradient that is not finite: parameters unchanged, groups used up.
                                         ///< Of the part that ends a step: every part of it was
  std::string complaint;                 ///< why skipped
  std::int64_t trained_tokens = 0;       ///< answer tokens
  std::int64_t masked_tokens = 0;        ///< answer tokens of the batch that had no part in the loss
  std::map<std::string, double> metrics; ///< loss, grad_norm, ... of the whole step, with the part that ends it
  transport::ticket returns;             ///< f32 [tokens] `returns`: what the critic should have said; id 0: it can tell by itself
  std::string lineage;                   ///< of the part, `train::step_lineage` as JSON: what `millrace replay` makes it from
};

template <class Inspector>
auto inspect(Inspector& f, batch_report& x) {
  return f(caf::meta::type_name("batch_report"), x.step, x.part, x.ends_step, x.interrupted, x.skipped, x.complaint, x.trained_tokens,
           x.masked_tokens, x.metrics, x.returns, x.lineage);
}

/// Ends a running `train_batch` between two micro-batches. coordinator -> policy.
struct interrupt_training {
  std::uint64_t step = 0;
};

template <class Inspector>
auto inspect(Inspector& f, interrupt_training& x) {
  return f(caf::meta::type_name("interrupt_training"), x.step);
}

/// Make the parameters as they are now available as a version. coordinator -> policy.
struct publish_weights {
  std::uint32_t version = 0;
};

template <class Inspector>
auto inspect(Inspector& f, publish_weights& x) {
  return f(caf::meta::type_name("publish_weights"), x.version);
}

/// Answers `publish_weights`. The ticket lives until the next version's is published and acknowledged, longer if held.
struct weights_published {
  std::uint32_t version = 0;
  transport::ticket parameters;
  double copy_s = 0;
};

template <class Inspector>
auto inspect(Inspector& f, weights_published& x) {
  return f(caf::meta::type_name("weights_published"), x.version, x.parameters, x.copy_s);
}

/// Whether a version's parameters stay available however many are published after it. coordinator -> policy.
struct hold_weights {
  std::uint32_t version = 0;
  bool hold = true; ///< false: they are needed no more
};

template <class Inspector>
auto inspect(Inspector& f, hold_weights& x) {
  return f(caf::meta::type_name("hold_weights"), x.version, x.hold);
}

/// Write weights (Hugging Face layout) and optimizer into an existing folder. coordinator -> policy.
struct write_checkpoint {
  std::string folder;
};

template <class Inspector>
auto inspect(Inspector& f, write_checkpoint& x) {
  return f(caf::meta::type_name("write_checkpoint"), x.folder);
}

/// Answers `write_checkpoint`.
struct checkpoint_written {
  std::string folder;
  double seconds = 0;
};

template <class Inspector>
auto inspect(Inspector& f, checkpoint_written& x) {
  return f(caf::meta::type_name("checkpoint_written"), x.folder, x.seconds);
}

// -- protocol -----------------------------------------------------------------

/// Invariants
/// - PO-1: requests are carried out one after another in the order of arrival, but for `interrupt_training`.
/// - PO-2: a group is trained at most once: training forgets it.
/// - PO-4: version v is the parameters after v whole steps, also while a later step is trained in parts.
/// - PO-3: heavy work runs on a thread of its own; the mailbox is always free.
using policy_actor
    = caf::typed_actor<caf::replies_to<fetch_group>::with<group_fetched>, caf::reacts_to<forget_group>,
                       caf::replies_to<train_batch>::with<batch_report>, caf::reacts_to<interrupt_training>,
                       caf::replies_to<publish_weights>::with<weights_published>, caf::reacts_to<hold_weights>,
                       caf::replies_to<write_checkpoint>::with<checkpoint_written>>;

} // namespace millrace::actors
