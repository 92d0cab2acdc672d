#pragma once

#include "actors/protocol/caf_address.hpp"
#include "actors/protocol/wire_words.hpp"
#include "runtime/messages/node.hpp"

#include <caf/deserializer.hpp>
#include <caf/serializer.hpp>

/// The fields of everything that travels between processes, in the order in which they travel. CAF reads and writes
/// them. One file includes this: wire_types.cpp.

namespace millrace::telemetry {

template <class Inspector>
auto inspect(Inspector& f, span& x) {
  return f(x.track, x.name, x.category, x.start_s, x.duration_s, x.args);
}

template <class Inspector>
auto inspect(Inspector& f, counter& x) {
  return f(x.track, x.name, x.at_s, x.value);
}

template <class Inspector>
auto inspect(Inspector& f, trace_batch& x) {
  return f(x.spans, x.counters);
}

template <class Inspector>
auto inspect(Inspector& f, in_flight_report& x) {
  return f(x.who, x.asked, x.held);
}

} // namespace millrace::telemetry

namespace millrace {

inline caf::error inspect(caf::serializer& sink, address& x) {
  auto who = actors::caf_actor(x);
  return sink(who);
}

inline caf::error inspect(caf::deserializer& source, address& x) {
  caf::strong_actor_ptr who;
  auto error = source(who);
  x = actors::address_of(std::move(who));
  return error;
}

template <class Protocol>
caf::error inspect(caf::serializer& sink, handle<Protocol>& x) {
  return inspect(sink, static_cast<address&>(x));
}

template <class Protocol>
caf::error inspect(caf::deserializer& source, handle<Protocol>& x) {
  return inspect(source, static_cast<address&>(x));
}

template <class Inspector>
auto inspect(Inspector& f, take_prompt& x) {
  return f(x.index);
}

template <class Inspector>
auto inspect(Inspector& f, drawn_row& x) {
  return f(x.source, x.row);
}

template <class Inspector>
auto inspect(Inspector& f, measured_prompt& x) {
  return f(x.index, x.share);
}

template <class Inspector>
auto inspect(Inspector& f, prompts_measured& x) {
  return f(x.prompts);
}

template <class Inspector>
auto inspect(Inspector& f, row_rate& x) {
  return f(x.row, x.rate);
}

template <class Inspector>
auto inspect(Inspector& f, prompt_row& x) {
  return f(x.index, x.exhausted, x.columns, x.data_source, x.skipped_rows, x.skipped_first, x.where, x.source,
           x.measured, x.drawn);
}

template <class Inspector>
auto inspect(Inspector& f, find_position& x) {
  return f(x.index);
}

template <class Inspector>
auto inspect(Inspector& f, source_place& x) {
  return f(x.epoch, x.next, x.rows, x.given, x.ended, x.draws, x.rates, x.resting);
}

template <class Inspector>
auto inspect(Inspector& f, source_position& x) {
  return f(x.index, x.sources, x.drawn);
}

template <class Inspector>
auto inspect(Inspector& f, generate_group& x) {
  return f(x.group, x.attempt, x.columns, x.answers, x.seed, x.partial, x.started, x.played.environment, x.played.since,
           x.played.deadline_s);
}

template <class Inspector>
auto inspect(Inspector& f, generation_lost& x) {
  return f(x.from, x.group, x.attempt, x.tokens, x.why);
}

template <class Inspector>
auto inspect(Inspector& f, begin_episodes& x) {
  return f(x.group, x.since, x.answers, x.seed, x.columns, x.with_history);
}

template <class Inspector>
auto inspect(Inspector& f, episodes_begun& x) {
  return f(x.prompt, x.tools);
}

template <class Inspector>
auto inspect(Inspector& f, take_turn& x) {
  return f(x.group, x.since, x.answer, x.turn, x.text, x.cut_off, x.last, x.read, x.prompt_tokens, x.tokens, x.sampled);
}

template <class Inspector>
auto inspect(Inspector& f, turn_taken& x) {
  return f(x.messages, x.reward, x.done, x.history, x.rewritten);
}

template <class Inspector>
auto inspect(Inspector& f, end_episodes& x) {
  return f(x.group, x.since, x.answer);
}

template <class Inspector>
auto inspect(Inspector& f, group_accepted& x) {
  return f(x.group, x.prompt_tokens, x.lost);
}

template <class Inspector>
auto inspect(Inspector& f, cancel_group& x) {
  return f(x.group);
}

template <class Inspector>
auto inspect(Inspector& f, interrupt_group& x) {
  return f(x.group, x.attempt);
}

template <class Inspector>
auto inspect(Inspector& f, group_interrupted& x) {
  return f(x.from, x.group, x.attempt, x.partial, x.tokens);
}

template <class Inspector>
auto inspect(Inspector& f, group_generated& x) {
  return f(x.from, x.group, x.attempt, x.columns, x.tokens, x.prefill_s, x.baseline_tokens, x.answers, x.surplus_tokens,
           x.prompt_tokens_found, x.prompt_tokens_computed, x.tool_calls, x.malformed_calls, x.rewritten_histories,
           x.client_tokens);
}

template <class Inspector>
auto inspect(Inspector& f, process_group& x) {
  return f(x.group, x.attempt, x.columns);
}

template <class Inspector>
auto inspect(Inspector& f, summed& x) {
  return f(x.sum, x.count);
}

template <class Inspector>
auto inspect(Inspector& f, scoring_outcome& x) {
  return f(x.answers, x.lost, x.failures, x.first);
}

template <class Inspector>
auto inspect(Inspector& f, group_columns& x) {
  return f(x.group, x.attempt, x.columns, x.summary, x.complaint, x.scores, x.busy_s);
}

template <class Inspector>
auto inspect(Inspector& f, fetch_group& x) {
  return f(x.group, x.attempt, x.columns, x.domain);
}

template <class Inspector>
auto inspect(Inspector& f, group_fetched& x) {
  return f(x.group, x.attempt, x.flat, x.complaint);
}

template <class Inspector>
auto inspect(Inspector& f, forget_group& x) {
  return f(x.group);
}

template <class Inspector>
auto inspect(Inspector& f, train_batch& x) {
  return f(x.step, x.version, x.groups, x.part, x.ends_step, x.mask, x.train_from, x.returns);
}

template <class Inspector>
auto inspect(Inspector& f, shown_answer& x) {
  return f(x.text, x.logprob, x.policy_logprob, x.version);
}

template <class Inspector>
auto inspect(Inspector& f, shown_group& x) {
  return f(x.group, x.answers);
}

template <class Inspector>
auto inspect(Inspector& f, batch_report& x) {
  return f(x.step, x.part, x.ends_step, x.interrupted, x.skipped, x.complaint, x.trained_tokens, x.masked_tokens,
           x.metrics, x.returns, x.step_record, x.critic_cut, x.shown);
}

template <class Inspector>
auto inspect(Inspector& f, interrupt_training& x) {
  return f(x.step);
}

template <class Inspector>
auto inspect(Inspector& f, end_step& x) {
  return f(x.step, x.apply, x.part);
}

template <class Inspector>
auto inspect(Inspector& f, step_ended& x) {
  return f(x.step);
}

template <class Inspector>
auto inspect(Inspector& f, publish_weights& x) {
  return f(x.version);
}

template <class Inspector>
auto inspect(Inspector& f, weight_shares& x) {
  return f(x.tickets, x.whole, x.delta, x.since, x.adapter);
}

template <class Inspector>
auto inspect(Inspector& f, weights_published& x) {
  return f(x.version, x.parameters, x.copy_s);
}

template <class Inspector>
auto inspect(Inspector& f, hold_weights& x) {
  return f(x.version, x.hold);
}

template <class Inspector>
auto inspect(Inspector& f, weights_taken& x) {
  return f(x.version);
}

template <class Inspector>
auto inspect(Inspector& f, new_weights& x) {
  return f(x.version, x.parameters, x.in_flight);
}

template <class Inspector>
auto inspect(Inspector& f, weights_live& x) {
  return f(x.version, x.pull_s, x.layout_s);
}

template <class Inspector>
auto inspect(Inspector& f, write_checkpoint& x) {
  return f(x.folder);
}

template <class Inspector>
auto inspect(Inspector& f, find_file& x) {
  return f(x.path, x.content);
}

template <class Inspector>
auto inspect(Inspector& f, file_found&) {
  return f();
}

template <class Inspector>
auto inspect(Inspector& f, checkpoint_written& x) {
  return f(x.folder, x.seconds);
}

template <class Inspector>
auto inspect(Inspector& f, checkpoint_stored& x) {
  return f(x.step, x.folder, x.failure);
}

template <class Inspector>
auto inspect(Inspector& f, evaluate_version& x) {
  return f(x.version);
}

template <class Inspector>
auto inspect(Inspector& f, version_evaluated& x) {
  return f(x.version, x.figures, x.tokens, x.seconds, x.answers);
}

template <class Inspector>
auto inspect(Inspector& f, evaluation_progress& x) {
  return f(x.who, x.version, x.done, x.rows);
}

template <class Inspector>
auto inspect(Inspector& f, peer_up& x) {
  return f(x.node, x.address);
}

template <class Inspector>
auto inspect(Inspector& f, peer_known& x) {
  return f(x.node);
}

template <class Inspector>
auto inspect(Inspector& f, peer_gone& x) {
  return f(x.node);
}

template <class Inspector>
auto inspect(Inspector& f, release_bundles& x) {
  return f(x.ids);
}

template <class Inspector>
auto inspect(Inspector& f, start_roles& x) {
  return f(x.roles, x.checkpoint);
}

template <class Inspector>
auto inspect(Inspector& f, end_process& x) {
  return f(x.why);
}

template <class Inspector>
auto inspect(Inspector& f, report_now&) {
  return f();
}

template <class Inspector>
auto inspect(Inspector& f, peer_lane& x) {
  return f(x.node, x.lane, x.bytes_pulled, x.bytes_mapped);
}

template <class Inspector>
auto inspect(Inspector& f, process_report& x) {
  return f(x.node, x.trace, x.waits, x.now_s, x.lanes, x.in_flight);
}

template <class Inspector>
auto inspect(Inspector& f, join_run& x) {
  return f(x.token, x.role);
}

template <class Inspector>
auto inspect(Inspector& f, welcome& x) {
  return f(x.node, x.run_key, x.pipeline, x.bind);
}

template <class Inspector>
auto inspect(Inspector& f, begin_run& x) {
  return f(x.outer_port);
}

template <class Inspector>
auto inspect(Inspector& f, process_failed& x) {
  return f(x.role, x.host, x.why);
}

template <class Inspector>
auto inspect(Inspector& f, failure_noted&) {
  return f();
}

template <class Inspector>
auto inspect(Inspector& f, role_failed& x) {
  return f(x.who, x.why, x.at_start);
}

template <class Inspector>
auto inspect(Inspector& f, process_ended& x) {
  return f(x.pid, x.host, x.role, x.how);
}

template <class Inspector>
auto inspect(Inspector& f, stop_run& x) {
  return f(x.why);
}

template <class Inspector>
auto inspect(Inspector& f, check_models& x) {
  return f(x.pipeline, x.roles, x.from_checkpoint);
}

template <class Inspector>
auto inspect(Inspector& f, models_checked& x) {
  return f(x.role, x.why);
}

template <class Inspector>
auto inspect(Inspector& f, started_on_node& x) {
  return f(x.pid);
}

template <class Inspector>
auto inspect(Inspector& f, end_node& x) {
  return f(x.if_unused);
}

template <class Inspector>
auto inspect(Inspector& f, join_as_node& x) {
  return f(x.host, x.node);
}

template <class Inspector>
auto inspect(Inspector& f, joined_as_node& x) {
  return f(x.in_place_of);
}

template <class Inspector>
auto inspect(Inspector& f, node_ends&) {
  return f();
}

template <class Inspector>
auto inspect(Inspector& f, kill_on_node& x) {
  return f(x.pid);
}

template <class Inspector>
auto inspect(Inspector& f, process_up& x) {
  return f(x.node, x.pid, x.host, x.agent, x.address, x.roles);
}

template <class Inspector>
auto inspect(Inspector& f, form_ranks& x) {
  return f(x.generation, x.size);
}

template <class Inspector>
auto inspect(Inspector& f, rank_word& x) {
  return f(x.from, x.generation, x.key, x.value);
}

template <class Inspector>
auto inspect(Inspector& f, part_ranks& x) {
  return f(x.generation, x.why);
}

template <class Inspector>
auto inspect(Inspector& f, ranks_lost& x) {
  return f(x.from, x.generation, x.why);
}

template <class Inspector>
auto inspect(Inspector& f, role_ready& x) {
  return f(x.who, x.node, x.generator, x.column_adder, x.keeper, x.trainer, x.publisher, x.weights_taker, x.evaluator,
           x.state_keeper, x.rank, x.environment, x.capacity_groups, x.parameters, x.needs_returns, x.rows);
}

template <class Inspector>
auto inspect(Inspector& f, start_on_node& x) {
  return f(x.role, x.token, x.host, x.coordinator_host, x.coordinator_port, x.coordinator, x.heartbeat_ms,
           x.peer_timeout_ms, x.gpu);
}

} // namespace millrace
