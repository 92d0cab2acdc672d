#pragma once

#include "runtime/messages/add_columns.hpp"
#include "runtime/messages/checkpoint.hpp"
#include "runtime/messages/episodes.hpp"
#include "runtime/messages/evaluate.hpp"
#include "runtime/messages/generate.hpp"
#include "runtime/messages/prompts.hpp"
#include "runtime/messages/protocol.hpp"
#include "runtime/messages/ranks.hpp"
#include "runtime/messages/train.hpp"
#include "runtime/messages/weights.hpp"
#include "runtime/words/ids.hpp"
#include "runtime/words/role_instance.hpp"

#include <cstdint>

namespace millrace {

// An ability is a protocol: the messages that a role with it takes. Every role keeps these rules, whatever its kind:
// - RL-1: every request is answered exactly once, by its answer or an error, unless the role dies.
// - RL-2: heavy work runs on threads of its own; the mailbox is always free.

/// Gives prompts.
/// - SO-1: the prompt of an index is a function of the pipeline, and with `sampler = "difficulty"` of the results told
///   before it was first asked for. After a resume it is the same.
/// - SO-2: an unusable row takes no index: it is counted and named.
/// - SO-3: this role lives and dies with the run's own process. A checkpoint holds all of its state.
using gives_prompts =
    protocol<asked<take_prompt, prompt_row>, asked<find_position, source_position>, told<prompts_measured>>;

/// Answers prompts.
/// - RO-1: every accepted group ends in exactly one `group_generated`, or in one `group_interrupted` if it was
///   interrupted, or in one `generation_lost` if its environment failed. A group that is cancelled, or whose role dies,
///   ends in none of them.
/// - RO-2: an answer depends on the group's seed and on the weights that sampled each token. It does not depend on
///   other groups or on the process. Which answers of a group are kept does not depend on slots or timing either
///   (`rollout::engine`).
using generates = protocol<asked<generate_group, group_accepted>, told<cancel_group>, told<interrupt_group>>;

/// Reads columns of groups that pass, and adds its own.
using adds_columns = protocol<asked<process_group, group_columns>>;

/// Keeps groups for the rank that trains them: another one of the same learner, where ranks share groups out.
/// - KG-1: it keeps a group until it is told to forget it: the group is trained or dropped.
using keeps_groups = protocol<asked<fetch_group, group_fetched>, told<forget_group>>;

/// Learns from groups. Several roles may train the same step side by side; the role that publishes weights leads.
/// `train_batch` lets the leader change its parameters. It lets everyone else compute a gradient and change nothing:
/// `end_step` then says whether that gradient counts. So an interrupted step leaves all of them as they were.
/// - PO-1: requests are carried out one after another in the order of arrival, except `interrupt_training`. Groups that
///   only pass through wait in the same queue.
/// - PO-2: a group is trained at most once: training forgets it.
using trains = protocol<asked<fetch_group, group_fetched>, told<forget_group>, asked<train_batch, batch_report>,
                        told<interrupt_training>, asked<end_step, step_ended>>;

/// Makes its parameters available, version by version.
/// - PO-3: version v is the parameters after v whole steps, also while a later step is trained in parts.
using publishes_weights = protocol<asked<publish_weights, weights_published>, told<hold_weights>, told<weights_taken>>;

/// Goes on with the parameters of newer versions.
/// - RO-3: versions rise: a `new_weights` older than the newest one taken is answered with the newer one.
using takes_weights = protocol<asked<new_weights, weights_live>>;

/// Asks held-out prompts of the version that it took last.
/// - EV-2: the figures are a function of the weights and the role's table: the same rows and seeds every time.
using evaluates = protocol<asked<evaluate_version, version_evaluated>>;

/// Holds state that exists only in its process and in checkpoints. When it dies, the run ends; a resume goes on from
/// the last checkpoint.
using keeps_state = protocol<asked<write_checkpoint, checkpoint_written>, asked<find_file, file_found>>;

/// Is one of the ranks that train as one: several processes of a role. The first one has the role's other abilities
/// too.
/// - RK-1: the group of a generation has the same ranks for its whole life.
/// - RK-2: a rank that comes back gets the first rank's state before it computes anything.
using joins_ranks = protocol<told<form_ranks>, told<rank_word>, told<part_ranks>, asked<find_file, file_found>>;

/// What a role that is up can do: a handle for each of its abilities. role -> coordinator, once in each of its lives.
struct role_ready {
  role_instance who;
  node_id node = 0;
  handle<generates> generator;
  handle<adds_columns> column_adder;
  handle<keeps_groups> keeper; ///< of a rank that does not lead
  handle<trains> trainer;
  handle<publishes_weights> publisher;
  handle<takes_weights> weights_taker;
  handle<evaluates> evaluator;
  handle<keeps_state> state_keeper;
  handle<joins_ranks> rank;
  handle<plays_episodes> environment;
  std::uint32_t capacity_groups = 0; ///< of a generator: groups that it takes at once
  std::uint64_t parameters = 0;      ///< of a trainer: how many numbers it trains
  bool needs_returns = false;        ///< of a trainer: only the leader's answer to the step makes its targets
  std::uint64_t rows = 0;            ///< of an evaluator: held-out prompts
};

} // namespace millrace
