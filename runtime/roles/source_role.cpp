#include "runtime/roles/source_role.hpp"

#include "runtime/columns/prompt_columns.hpp"
#include "runtime/roles/role_kinds.hpp"
#include "runtime/roles/row_options.hpp"
#include "runtime/roles/rule_verifier_role.hpp"

#include <algorithm>
#include <set>
#include <stdexcept>
#include <vector>

namespace millrace::roles {
namespace {

using rule_sets = std::vector<std::shared_ptr<const rules::rule_set>>;

/// The rules that score the answers to this source's prompts.
rule_sets rules_behind(const pipeline::pipeline& p, const std::string& source) {
  rule_sets sets;
  std::set<std::string> reached{source};
  for (const auto& role : p.roles) { // each stands after those that it reads from
    if (std::none_of(role.from.begin(), role.from.end(), [&](const auto& name) { return reached.contains(name); }))
      continue;
    reached.insert(role.name);
    if (const auto* table = std::get_if<pipeline::rule_verifier_table>(&role.options))
      sets.push_back(rules_of(table->rules));
  }
  return sets;
}

/// @param further than the first of several: its place among them
data::file_options options_of(const pipeline::rows_table& table, std::uint64_t run_seed, std::uint64_t further,
                              const rule_sets& rules_behind) {
  auto options = row_options(table);
  options.seed = run_seed + further;
  options.epochs = static_cast<std::uint64_t>(table.epochs);
  options.unusable = [rules_behind](const data::row& row) {
    std::string why;
    for (const auto& rules : rules_behind)
      if (why.empty())
        why = rules->unreadable(row.answer);
    return why;
  };
  return options;
}

data::mixture mixture_of(const pipeline::pipeline& p, const pipeline::role& role, const data::on_skip& skip) {
  const auto rules = rules_behind(p, role.name);
  std::vector<data::mixture_part> parts;
  pipeline::each_rows(
      std::get<pipeline::source_table>(role.options), role.name, [&](const auto& table, const std::string&) {
        data::mixture_part part;
        if constexpr (requires { table.weight; })
          part.weight = table.weight;
        part.rows =
            rows_of(table, options_of(table, static_cast<std::uint64_t>(p.run.seed), parts.size(), rules), skip);
        parts.push_back(std::move(part));
      });
  return data::mixture(std::move(parts));
}

std::vector<std::string> names_of(const pipeline::role& role) {
  std::vector<std::string> names;
  for (const auto& source : std::get<pipeline::source_table>(role.options).sources)
    names.push_back(source.name);
  return names;
}

columns::prompt_content content_in(data::row& row) {
  return {.prompt = std::move(row.prompt),
          .answer = std::move(row.answer),
          .data_source = row.data_source,
          .extra_info = row.extra,
          .demonstrations = std::move(row.demonstrations),
          .margin = row.margin};
}

source_position at_index(std::uint64_t index, const std::vector<data::mixture_place>& places) {
  source_position position{.index = index, .sources = {}};
  for (const auto& [at, given, ended] : places)
    position.sources.push_back({at.epoch, at.next, at.rows, given, ended});
  return position;
}

std::vector<data::mixture_place> places_in(const source_position& position) {
  std::vector<data::mixture_place> places;
  for (const auto& at : position.sources)
    places.push_back({{at.epoch, at.next, at.rows}, at.given, at.ended});
  return places;
}

} // namespace

source_role::source_role(const pipeline::pipeline& p, const pipeline::role& role, std::optional<source_position> from)
    : resumed_(from.has_value()), names_(names_of(role)),
      rows_(mixture_of(p, role, [skipped = skipped_](const std::string& line) {
        if (skipped->count++ == 0)
          skipped->first = line;
      })) {
  if (from) {
    rows_.restore(places_in(*from));
    next_index_ = from->index;
  }
  positions_.push_back(at_index(next_index_, rows_.save()));
}

source_prompt source_role::take(std::uint64_t index) {
  if (index < next_index_) { // asked again: go back to where it was read
    rows_.restore(places_in(position_of(index)));
    while (positions_.back().index > index)
      positions_.pop_back();
    next_index_ = index;
  }
  const bool near = index == next_index_ || (resumed_ && index - next_index_ < kept_rows);
  if (!near && !end_)
    throw not_there(index);
  source_prompt taken;
  while (next_index_ <= index && !(end_ && next_index_ >= *end_))
    taken = read_next();
  if (end_ && index >= *end_) {
    taken = {};
    taken.row.index = *end_;
    taken.row.exhausted = true;
  }
  taken.row.skipped_rows = std::exchange(skipped_->count, 0);
  taken.row.skipped_first = std::exchange(skipped_->first, {});
  return taken;
}

/// Leaves `end_` behind where there is none.
source_prompt source_role::read_next() {
  source_prompt taken;
  auto found = rows_.next();
  if (!found) {
    end_ = next_index_;
    return taken;
  }
  auto& [row, part] = *found;
  taken.row.index = next_index_;
  taken.row.data_source = row.data_source;
  taken.row.where = row.where;
  if (!names_.empty())
    taken.row.source = names_[part];
  taken.columns = columns::columns_of(content_in(row));
  positions_.push_back(at_index(++next_index_, rows_.save()));
  if (positions_.size() > kept_rows)
    positions_.pop_front();
  return taken;
}

std::out_of_range source_role::not_there(std::uint64_t index) const {
  return std::out_of_range("prompt " + std::to_string(index) + " is not among those from "
                           + std::to_string(positions_.front().index) + " to "
                           + std::to_string(positions_.back().index));
}

source_position source_role::position_of(std::uint64_t index) const {
  if (index < positions_.front().index || index > positions_.back().index)
    throw not_there(index);
  return positions_[index - positions_.front().index];
}

role_abilities made(const role_setup&, const pipeline::source_table&) {
  return {};
}

} // namespace millrace::roles
