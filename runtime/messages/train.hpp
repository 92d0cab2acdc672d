#pragma once

#include "runtime/words/age_mask.hpp"
#include "runtime/words/shown_tokens.hpp"
#include "runtime/words/ticket.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace millrace {

/// Take a group's columns into the trainer's own process. coordinator -> trainer.
struct fetch_group {
  std::uint64_t group = 0;
  std::uint32_t attempt = 0;
  std::vector<ticket> columns;
  std::string domain; ///< of the row: its data_source
};

/// Answers `fetch_group`: from now on only the trainer's own death can lose the group.
struct group_fetched {
  std::uint64_t group = 0;
  std::uint32_t attempt = 0;
  bool flat = false;          ///< all its rewards are the same
  std::string complaint = {}; ///< not empty: the group cannot be trained, was not kept, and why
};

/// Drop a fetched group that will not be trained. coordinator -> trainer.
struct forget_group {
  std::uint64_t group = 0;
};

/// One step, or one of its parts, over fetched groups. coordinator -> trainer.
struct train_batch {
  std::uint64_t step = 0;            ///< from 1
  std::uint32_t version = 0;         ///< steps trained before this one: what staleness is counted against
  std::vector<std::uint64_t> groups; ///< empty: the step ends without a further part (`ends_step`)
  std::uint32_t part = 0;
  bool ends_step = true;
  age_mask mask = age_mask::none; ///< what is too old to be trained
  std::uint32_t train_from = 0;   ///< the oldest version that is not
  ticket returns;                 ///< to a trainer that `needs_returns`; else id 0
};

/// Answers `train_batch`.
struct batch_report {
  std::uint64_t step = 0;
  std::uint32_t part = 0;
  bool ends_step = true;
  bool interrupted = false;        ///< stopped between micro-batches: nothing was changed, the groups are kept
  bool skipped = false;            ///< a loss or gradient that is not finite: parameters unchanged, groups used up.
                                   ///< Of the part that ends a step: every part of it was
  std::string complaint;           ///< why skipped
  std::int64_t trained_tokens = 0; ///< answer tokens
  std::int64_t masked_tokens = 0;  ///< answer tokens of the batch that had no part in the loss
  std::map<std::string, double> metrics; ///< loss, grad_norm, ... of the whole step, with the part that ends it
  ticket returns;                 ///< f32 [tokens] `returns`: targets for trainers that need them; id 0: there are none
  std::string step_record;        ///< of the part, `train::step_record` as JSON: what `millrace replay` makes it from
  std::int64_t critic_cut = 0;    ///< of a critic: fed tokens at most of its micro-batches; 0: its option's
  std::vector<shown_group> shown; ///< some of the part's groups, for people who look at their tokens
};

/// Ends a running `train_batch` between two micro-batches. coordinator -> trainer.
struct interrupt_training {
  std::uint64_t step = 0;
};

/// Ends the step of a trainer that does not lead: its gradient is applied and the groups are used up, or both are as
/// before. coordinator -> trainer, once for each `train_batch`, whether that was answered or not.
struct end_step {
  std::uint64_t step = 0;
  bool apply = false;
  std::uint32_t part = 0;
};

/// Answers `end_step`: whatever is asked of the trainer from now on is done after it.
struct step_ended {
  std::uint64_t step = 0;
};

} // namespace millrace
