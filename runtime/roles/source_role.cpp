#include "runtime/roles/source_role.hpp"

#include "runtime/columns/prompt_columns.hpp"
#include "runtime/pipeline/located.hpp"
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

/// @param further than the first of several: its place among them
data::file_options options_of(const pipeline::rows_table& table, std::uint64_t run_seed, std::uint64_t further,
                              const rule_sets& rules) {
  auto options = row_options(table);
  options.seed = run_seed + further;
  options.epochs = static_cast<std::uint64_t>(table.epochs);
  options.unusable = unusable_by(rules);
  return options;
}

/// @param measured gets the sources of the mixture, where results decide
data::mixture mixture_of(const pipeline::pipeline& p, const pipeline::role& role, const data::on_skip& skip,
                         std::vector<data::difficulty_source*>& measured) {
  const auto rules = rules_behind(p, role.name);
  const auto& source = std::get<pipeline::source_table>(role.options);
  std::vector<data::mixture_part> parts;
  pipeline::each_rows(source, role.name, [&](const auto& table, const std::string& path) {
    data::mixture_part part;
    if constexpr (requires { table.weight; })
      part.weight = table.weight;
    auto options = options_of(table, static_cast<std::uint64_t>(p.run.seed), parts.size(), rules);
    pipeline::located(p, pipeline::rows_key(table, path), [&] {
      if (source.sampler == "difficulty") {
        auto rows = std::make_unique<data::difficulty_source>(usable_rows_of(table, std::move(options), skip));
        measured.push_back(rows.get());
        part.rows = std::move(rows);
      } else {
        part.rows = rows_of(table, std::move(options), skip);
      }
    });
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
          .ground_truth = std::move(row.ground_truth),
          .data_source = row.data_source,
          .extra_info = row.extra,
          .demonstrations = std::move(row.demonstrations),
          .margin = row.margin};
}

source_position at_index(std::uint64_t index, const std::vector<data::mixture_place>& places) {
  source_position position{.index = index, .sources = {}};
  for (const auto& [at, given, ended] : places)
    position.sources.push_back({.epoch = at.epoch, .next = at.next, .rows = at.rows, .given = given, .ended = ended});
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
    : resumed_(from.has_value()), names_(names_of(role)), rows_(mixture_of(
                                                              p, role,
                                                              [skipped = skipped_](const std::string& line) {
                                                                if (skipped->count++ == 0)
                                                                  skipped->first = line;
                                                              },
                                                              measured_)) {
  if (from) {
    rows_.restore(places_in(*from));
    next_index_ = from->index;
  }
  if (!measured_.empty()) {
    if (from)
      go_on_measured(*from);
    return;
  }
  positions_.push_back(at_index(next_index_, rows_.save()));
}

source_prompt source_role::take(std::uint64_t index) {
  auto taken = measured_.empty() ? take_in_order(index) : take_measured(index);
  taken.row.skipped_rows = std::exchange(skipped_->count, 0);
  taken.row.skipped_first = std::exchange(skipped_->first, {});
  return taken;
}

source_prompt source_role::take_in_order(std::uint64_t index) {
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
  return taken;
}

source_prompt source_role::prompt_of(std::uint64_t index, data::row row, std::size_t part) const {
  source_prompt taken;
  taken.row.index = index;
  taken.row.data_source = row.data_source;
  taken.row.where = row.where;
  if (!names_.empty())
    taken.row.source = names_[part];
  taken.row.measured = !measured_.empty();
  if (taken.row.measured)
    taken.row.drawn = {static_cast<std::uint32_t>(part), row.number};
  taken.columns = columns::columns_of(content_in(row));
  return taken;
}

/// Leaves `end_` behind where there is none.
source_prompt source_role::read_next() {
  auto found = rows_.next();
  if (!found) {
    end_ = next_index_;
    return {};
  }
  auto taken = prompt_of(next_index_, std::move(found->what), found->part);
  positions_.push_back(at_index(++next_index_, rows_.save()));
  if (positions_.size() > kept_rows)
    positions_.pop_front();
  return taken;
}

// -- where results decide which rows come
// ------------------------------------------------------------------------------

void source_role::go_on_measured(const source_position& from) {
  const auto is_other_data = [](const source_place& at) { return at.rows == 0; };
  if (std::any_of(from.sources.begin(), from.sources.end(), is_other_data))
    return; // what was measured says nothing about it
  for (std::size_t i = 0; i < measured_.size(); ++i) {
    const auto& at = from.sources[i];
    data::difficulty_state state{.draws = at.draws, .measured = {}, .resting = at.resting};
    for (const auto& [row, rate] : at.rates)
      state.measured.push_back({row, rate});
    measured_[i]->restore_state(state);
  }
  drawn_.assign(from.drawn.begin(), from.drawn.end());
  next_index_ = from.index + drawn_.size();
}

source_prompt source_role::take_measured(std::uint64_t index) {
  const std::uint64_t oldest = next_index_ - drawn_.size();
  if (index < oldest || index > next_index_)
    throw not_there(index);
  if (index < next_index_)
    return take_drawn(index, drawn_[index - oldest]);
  auto found = rows_.next();
  if (!found)
    throw std::logic_error("sources whose rows results decide have no end");
  auto taken = prompt_of(next_index_++, std::move(found->what), found->part);
  drawn_.push_back(taken.row.drawn);
  if (drawn_.size() > kept_rows)
    drawn_.pop_front();
  return taken;
}

source_prompt source_role::take_drawn(std::uint64_t index, const drawn_row& row) {
  return prompt_of(index, measured_.at(row.source)->at(row.row), row.source);
}

void source_role::measured(const prompts_measured& results) {
  const std::uint64_t oldest = next_index_ - drawn_.size();
  for (const auto& [index, share] : results.prompts)
    if (index >= oldest && index < next_index_) {
      const auto& row = drawn_[index - oldest];
      measured_.at(row.source)->measured(row.row, share);
    }
}

source_position source_role::measured_position_of(std::uint64_t index) const {
  const std::uint64_t oldest = next_index_ - drawn_.size();
  if (index < oldest || index > next_index_)
    throw not_there(index);
  auto position = at_index(index, rows_.save());
  for (std::size_t i = 0; i < measured_.size(); ++i) {
    const auto state = measured_[i]->state();
    auto& at = position.sources[i];
    at.draws = state.draws;
    at.resting = state.resting;
    for (const auto& [row, rate] : state.measured)
      at.rates.push_back({row, rate});
  }
  position.drawn.assign(drawn_.begin() + static_cast<std::ptrdiff_t>(index - oldest), drawn_.end());
  return position;
}

std::out_of_range source_role::not_there(std::uint64_t index) const {
  const auto first = measured_.empty() ? positions_.front().index : next_index_ - drawn_.size();
  return std::out_of_range("prompt " + std::to_string(index) + " is not among those from " + std::to_string(first)
                           + " to " + std::to_string(next_index_));
}

source_position source_role::position_of(std::uint64_t index) const {
  if (!measured_.empty())
    return measured_position_of(index);
  if (index < positions_.front().index || index > positions_.back().index)
    throw not_there(index);
  return positions_[index - positions_.front().index];
}

role_abilities made(const role_setup&, const pipeline::source_table&) {
  return {};
}

} // namespace millrace::roles
