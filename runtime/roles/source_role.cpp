#include "runtime/roles/source_role.hpp"

#include "runtime/columns/prompt_columns.hpp"
#include "runtime/roles/role_kinds.hpp"
#include "runtime/roles/row_options.hpp"
#include "runtime/roles/rule_verifier_role.hpp"

#include <stdexcept>
#include <vector>

namespace millrace::roles {
namespace {

using rule_sets = std::vector<std::shared_ptr<const rules::rule_set>>;

/// The rules that score the answers to this source's prompts.
rule_sets rules_behind(const pipeline::pipeline& p, const std::string& source) {
  rule_sets sets;
  for (const auto* role : p.behind(source))
    if (const auto* table = std::get_if<pipeline::rule_verifier_table>(&role->options))
      sets.push_back(rules_of(table->rules));
  return sets;
}

std::shared_ptr<data::source> source_of(const pipeline::pipeline& p, const pipeline::role& role, data::on_skip skip) {
  const auto& table = std::get<pipeline::source_table>(role.options);
  const auto run_seed = static_cast<std::uint64_t>(p.run.seed);
  if (!table.generator) {
    auto options = row_options(table);
    options.seed = run_seed;
    options.epochs = static_cast<std::uint64_t>(table.epochs);
    options.unusable = [sets = rules_behind(p, role.name)](const data::row& row) {
      std::string why;
      for (const auto& rules : sets)
        if (why.empty())
          why = rules->unreadable(row.answer);
      return why;
    };
    return data::open_file(table.file, std::move(options), std::move(skip));
  }
  const auto& g = *table.generator;
  return data::make_arithmetic({.operation = g.operation,
                                .min = g.min,
                                .max = g.max,
                                .seed = g.seed < 0 ? run_seed : static_cast<std::uint64_t>(g.seed),
                                .suffix = g.suffix,
                                .system = table.system});
}

columns::prompt_content content_in(data::row& row) {
  return {.prompt = std::move(row.prompt),
          .answer = std::move(row.answer),
          .data_source = row.data_source,
          .extra_info = row.extra,
          .demonstrations = std::move(row.demonstrations),
          .margin = row.margin};
}

source_position at_index(std::uint64_t index, const data::position& at) {
  return {.index = index, .epoch = at.epoch, .next = at.next, .rows = at.rows};
}

} // namespace

source_role::source_role(const pipeline::pipeline& p, const pipeline::role& role, std::optional<source_position> from) {
  source_ = source_of(p, role, [skipped = skipped_](const std::string& line) {
    if (skipped->count++ == 0)
      skipped->first = line;
  });
  if (from) {
    source_->restore({from->epoch, from->next, from->rows});
    next_index_ = from->index;
  }
  positions_.push_back(at_index(next_index_, source_->save()));
}

source_prompt source_role::take(std::uint64_t index) {
  source_prompt taken;
  auto& answer = taken.row;
  answer.index = index;
  if (end_ && index >= *end_) {
    answer.index = *end_;
    answer.exhausted = true;
    return taken;
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
  answer.skipped_rows = std::exchange(skipped_->count, 0);
  answer.skipped_first = std::exchange(skipped_->first, {});
  if (!row) {
    end_ = index;
    answer.exhausted = true;
    return taken;
  }
  taken.columns = columns::columns_of(content_in(*row));
  answer.data_source = std::move(row->data_source);
  answer.where = std::move(row->where);
  positions_.push_back(at_index(++next_index_, source_->save()));
  if (positions_.size() > kept_rows)
    positions_.pop_front();
  return taken;
}

source_position source_role::position_of(std::uint64_t index) const {
  if (index < positions_.front().index || index > positions_.back().index)
    throw std::out_of_range("prompt " + std::to_string(index) + " is not among those from "
                            + std::to_string(positions_.front().index) + " to "
                            + std::to_string(positions_.back().index));
  return positions_[index - positions_.front().index];
}

role_abilities made(const role_setup&, const pipeline::source_table&) {
  return {};
}

} // namespace millrace::roles
