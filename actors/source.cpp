#include "actors/source.hpp"

#include "actors/errors.hpp"

#include <stdexcept>

namespace millrace::actors {
namespace {

std::shared_ptr<data::source> open(const pipeline::pipeline& p, const pipeline::source_table& table,
                                   data::on_skip skip) {
  const auto run_seed = static_cast<std::uint64_t>(p.run.seed);
  if (!table.generator)
    return data::open_file(table.file, {table.shuffle, run_seed, static_cast<std::uint64_t>(table.epochs), table.system},
                           std::move(skip));
  const auto& g = *table.generator;
  return data::make_arithmetic(
      {g.operation, g.min, g.max, g.seed < 0 ? run_seed : static_cast<std::uint64_t>(g.seed), g.suffix, table.system});
}

} // namespace

source_state::source_state(const pipeline::pipeline& p, const pipeline::role& role, std::optional<source_position> from)
    : skipped_(std::make_shared<std::pair<std::uint64_t, std::string>>()) {
  source_ = open(p, std::get<pipeline::source_table>(role.options), [skipped = skipped_](const std::string& line) {
    if (skipped->first++ == 0)
      skipped->second = line;
  });
  if (from) {
    source_->restore({from->epoch, from->next, from->rows});
    next_index_ = from->index;
  }
  const auto at = source_->save();
  positions_.push_back({next_index_, at.epoch, at.next, at.rows});
}

prompt_row source_state::take(std::uint64_t index) {
  prompt_row answer;
  answer.index = index;
  if (end_ && index >= *end_) {
    answer.index = *end_;
    answer.exhausted = true;
    return answer;
  }
  if (index != next_index_) {
    // Asked again: go back to where it was read.
    const auto at = position_of(index);
    source_->restore({at.epoch, at.next, at.rows});
    while (positions_.back().index > index)
      positions_.pop_back();
    next_index_ = index;
  }
  auto row = source_->next();
  answer.skipped_rows = std::exchange(skipped_->first, 0);
  answer.skipped_first = std::exchange(skipped_->second, {});
  if (!row) {
    end_ = index;
    answer.exhausted = true;
    return answer;
  }
  for (auto& message : row->prompt)
    answer.prompt.push_back({std::move(message.role), std::move(message.content)});
  answer.answer = std::move(row->answer);
  answer.data_source = std::move(row->data_source);
  for (auto& turns : row->demonstrations) {
    auto& demonstration = answer.demonstrations.emplace_back();
    for (auto& message : turns)
      demonstration.push_back({std::move(message.role), std::move(message.content)});
  }
  answer.margin = row->margin;
  answer.where = std::move(row->where);
  const auto at = source_->save();
  positions_.push_back({++next_index_, at.epoch, at.next, at.rows});
  if (positions_.size() > kept_rows)
    positions_.pop_front();
  return answer;
}

source_position source_state::position_of(std::uint64_t index) const {
  if (index < positions_.front().index || index > positions_.back().index)
    throw std::out_of_range("prompt " + std::to_string(index) + " is not among those from "
                            + std::to_string(positions_.front().index) + " to " + std::to_string(positions_.back().index));
  return positions_[index - positions_.front().index];
}

source_actor::behavior_type make_source(source_actor::stateful_pointer<source_state> self, source_state state) {
  self->state = std::move(state);
  return {
      [self](const take_prompt& ask) -> caf::result<prompt_row> {
        return answer_or_error([&] { return self->state.take(ask.index); });
      },
      [self](const find_position& ask) -> caf::result<source_position> {
        return answer_or_error([&] { return self->state.position_of(ask.index); });
      },
  };
}

} // namespace millrace::actors
