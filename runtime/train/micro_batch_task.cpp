#include "runtime/train/micro_batch_task.hpp"

#include "algorithms/diagnostic_fields.hpp"
#include "runtime/train/mask_old.hpp"
#include "runtime/train/packed_vectors.hpp"
#include "runtime/train/step_columns.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>

namespace millrace::train {
namespace {

using algorithms::answer_columns;
using collective::parcel;

constexpr std::array<at::Tensor answer_columns::*, 11> sent_columns{
    &answer_columns::old_logprob, &answer_columns::behaviour_logprob,
    &answer_columns::ref_logprob, &answer_columns::advantage,
    &answer_columns::version,     &answer_columns::trains,
    &answer_columns::step_weight, &answer_columns::length,
    &answer_columns::reward,      &answer_columns::group,
    &answer_columns::group_tokens};

/// Visits every number of figures, those of inner figures too.
template <class Figures, class Visit>
void each_number(Figures& figures, Visit&& visit) {
  each_field(figures, [&](const char*, auto& field) {
    if constexpr (std::is_arithmetic_v<std::remove_reference_t<decltype(field)>>)
      visit(field);
    else
      for (auto& inner : field)
        each_number(inner, visit);
  });
}

} // namespace

micro_batch_task task_of(micro_batch_task::kind what, std::span<const training_group> groups,
                         const micro_batch& batch) {
  micro_batch_task task;
  task.what = what;
  task.batch = batch;
  task.batch.parts.clear();
  task.batch.first_token = task.batch.first_answer = 0;
  for (const auto& part : batch.parts) {
    const auto& group = groups[part.group];
    auto& own = task.groups.emplace_back();
    own.prompt = group.prompt;
    const auto first = static_cast<std::ptrdiff_t>(part.first_answer),
               end = static_cast<std::ptrdiff_t>(part.first_answer + part.answers);
    own.answers.assign(group.answers.begin() + first, group.answers.begin() + end);
    if (!group.mask.empty())
      own.mask.assign(group.mask.begin() + first, group.mask.begin() + end);
    if (!group.segments.empty())
      own.segments.assign(group.segments.begin() + first, group.segments.begin() + end);
    task.batch.parts.push_back({task.groups.size() - 1, 0, part.answers});
  }
  return task;
}

namespace {

/// Leaves one number an answer, where all tokens of an answer have the same one. @returns whether they have
bool bring_together(at::Tensor& of_tokens, const at::Tensor& length) {
  if (of_tokens.numel() == 0)
    return false;
  const at::Tensor of_answers = of_tokens.index_select(0, (length.cumsum(0) - 1).clamp_min(0));
  if (!at::equal(of_answers.repeat_interleave(length), of_tokens))
    return false;
  of_tokens = of_answers;
  return true;
}

} // namespace

std::vector<piece_name> pieces_of(std::span<const training_group> groups, const micro_batch& batch) {
  std::vector<piece_name> names;
  for (const auto& part : batch.parts)
    names.push_back(
        {groups[part.group].id, static_cast<std::int64_t>(part.first_answer), static_cast<std::int64_t>(part.answers)});
  return names;
}

micro_batch_task in_pieces(micro_batch_task task, std::span<const training_group> groups, const micro_batch& batch,
                           age_mask mask, std::uint32_t train_from) {
  task.groups.clear();
  task.batch.parts.clear();
  task.pieces = pieces_of(groups, batch);
  task.mask = mask;
  task.train_from = train_from;
  auto& answers = task.answers;
  task.some_are_old = answers.trains.defined();
  task.advantage_by_answer = bring_together(answers.advantage, answers.length);
  for (auto* column : {&answers.behaviour_logprob, &answers.ref_logprob, &answers.version, &answers.trains})
    *column = at::Tensor();
  return task;
}

micro_batch_task out_of_pieces(micro_batch_task task, const group_pieces& pieces, std::int64_t vocab) {
  for (const auto& name : task.pieces) {
    task.batch.parts.push_back({task.groups.size(), 0, static_cast<std::size_t>(name.answers)});
    task.groups.push_back(pieces.at(name));
  }
  mask_old(task.groups, task.mask, task.train_from);
  const auto columns = gather_columns(task.groups, vocab).answers;
  auto& answers = task.answers;
  answers.behaviour_logprob = columns.behaviour_logprob;
  answers.ref_logprob = columns.ref_logprob;
  answers.version = columns.version;
  if (task.some_are_old)
    answers.trains = columns.trains.defined() ? columns.trains : at::ones({task.batch.tokens}, at::kBool);
  if (task.advantage_by_answer)
    answers.advantage = answers.advantage.repeat_interleave(answers.length);
  return task;
}

parcel packed(const micro_batch_task& task) {
  parcel out;
  std::vector<std::int32_t> tokens;
  std::vector<std::uint8_t> masks;
  out.words = {static_cast<std::int64_t>(task.what),
               task.first_update,
               task.from_start,
               task.answers.policy_version,
               task.totals.tokens,
               task.totals.answers,
               task.totals.groups,
               task.batch.fed_tokens,
               task.batch.tokens,
               task.batch.answers,
               task.tells_logprob,
               static_cast<std::int64_t>(task.activations),
               static_cast<std::int64_t>(task.mask),
               task.train_from,
               task.some_are_old,
               task.advantage_by_answer,
               static_cast<std::int64_t>(task.pieces.size()),
               static_cast<std::int64_t>(task.groups.size())};
  for (const auto& piece : task.pieces)
    out.words.insert(out.words.end(), {static_cast<std::int64_t>(piece.group), piece.first_answer, piece.answers});
  for (const auto& group : task.groups) {
    out.words.insert(out.words.end(),
                     {static_cast<std::int64_t>(group.prompt.size()), static_cast<std::int64_t>(group.answers.size()),
                      !group.mask.empty(), !group.segments.empty()});
    tokens.insert(tokens.end(), group.prompt.begin(), group.prompt.end());
    for (const auto& answer : group.answers) {
      out.words.push_back(static_cast<std::int64_t>(answer.size()));
      tokens.insert(tokens.end(), answer.begin(), answer.end());
    }
    for (const auto& begins : group.segments) {
      out.words.push_back(std::ssize(begins));
      out.words.insert(out.words.end(), begins.begin(), begins.end());
    }
    for (const auto& mask : group.mask)
      masks.insert(masks.end(), mask.begin(), mask.end());
  }
  out.numbers = {task.coefficient};
  out.tensors = {as_tensor(tokens, at::kInt), as_tensor(masks, at::kByte), task.value, task.returns};
  for (const auto column : sent_columns)
    out.tensors.push_back(task.answers.*column);
  return out;
}

micro_batch_task unpacked_task(const parcel& parcel) {
  micro_batch_task task;
  std::size_t at = 0;
  const auto next = [&] { return parcel.words.at(at++); };
  task.what = static_cast<micro_batch_task::kind>(next());
  task.first_update = next() != 0;
  task.from_start = next() != 0;
  task.answers.policy_version = next();
  task.totals.tokens = next();
  task.totals.answers = next();
  task.totals.groups = next();
  task.batch.fed_tokens = next();
  task.batch.tokens = next();
  task.batch.answers = next();
  task.tells_logprob = next() != 0;
  task.activations = static_cast<model::activations>(next());
  task.mask = static_cast<age_mask>(next());
  task.train_from = static_cast<std::uint32_t>(next());
  task.some_are_old = next() != 0;
  task.advantage_by_answer = next() != 0;
  task.pieces.resize(static_cast<std::size_t>(next()));
  task.groups.resize(static_cast<std::size_t>(next()));
  for (auto& piece : task.pieces) {
    piece.group = static_cast<std::uint64_t>(next());
    piece.first_answer = next();
    piece.answers = next();
  }
  front_of<std::int32_t> tokens(parcel.tensors.at(0));
  front_of<std::uint8_t> masks(parcel.tensors.at(1));
  for (std::size_t g = 0; g < task.groups.size(); ++g) {
    auto& group = task.groups[g];
    const auto prompt = next(), answers = next();
    const bool masked = next() != 0, cut = next() != 0;
    group.prompt = tokens.take(prompt);
    for (std::int64_t i = 0; i < answers; ++i) {
      const auto length = next();
      group.answers.push_back(tokens.take(length));
      if (masked)
        group.mask.push_back(masks.take(length));
    }
    for (std::int64_t i = 0; cut && i < answers; ++i) {
      auto& begins = group.segments.emplace_back();
      for (auto count = next(); count > 0; --count)
        begins.push_back(static_cast<std::int32_t>(next()));
    }
    task.batch.parts.push_back({g, 0, group.answers.size()});
  }
  task.coefficient = parcel.numbers.at(0);
  task.value = parcel.tensors.at(2);
  task.returns = parcel.tensors.at(3);
  for (std::size_t i = 0; i < sent_columns.size(); ++i)
    task.answers.*sent_columns[i] = parcel.tensors.at(4 + i);
  return task;
}

parcel packed(const micro_batch_result& result) {
  parcel out;
  out.words = {result.pairs, result.pairs_right, result.mismatch_tokens};
  out.numbers = {result.loss, result.logprob_mismatch, result.mismatch_sum, result.forward_s, result.backward_s};
  each_number(result.seen, [&](const auto& number) { out.numbers.push_back(static_cast<double>(number)); });
  out.tensors = {result.logprob};
  return out;
}

micro_batch_result unpacked_result(const parcel& parcel) {
  micro_batch_result result;
  result.pairs = parcel.words.at(0);
  result.pairs_right = parcel.words.at(1);
  result.mismatch_tokens = parcel.words.at(2);
  std::size_t at = 0;
  const auto next = [&] { return parcel.numbers.at(at++); };
  result.loss = next();
  result.logprob_mismatch = next();
  result.mismatch_sum = next();
  result.forward_s = next();
  result.backward_s = next();
  each_number(result.seen,
              [&](auto& number) { number = static_cast<std::remove_reference_t<decltype(number)>>(next()); });
  result.logprob = parcel.tensors.at(0);
  return result;
}

std::vector<std::size_t> by_cost(std::span<const micro_batch> batches) {
  std::vector<std::int64_t> fed;
  for (const auto& batch : batches)
    fed.push_back(batch.fed_tokens);
  auto order = longest_first(fed);
  std::erase_if(order, [&](std::size_t i) { return batches[i].tokens == 0; });
  return order;
}

} // namespace millrace::train
