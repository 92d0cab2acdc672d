#include "runtime/columns/column_set.hpp"

#include <algorithm>
#include <memory>
#include <mutex>
#include <stdexcept>

namespace millrace::columns {

bool column_set::has(std::string_view name) const {
  return std::any_of(parts_.begin(), parts_.end(), [&](const auto& part) { return part.has(name); });
}

const transport::bundle& column_set::part_with(std::string_view name) const {
  for (const auto& part : parts_)
    if (part.has(name))
      return part;
  throw std::out_of_range(no_such_column(name));
}

std::string no_such_column(std::string_view name) {
  return "column '" + std::string(name) + "' is not among the group's columns";
}

std::vector<std::vector<std::int32_t>> answers_in(const column_set& columns) {
  std::vector<std::vector<std::int32_t>> answers;
  for (const auto answer : by_answer(columns.view(column::tokens), columns.view(column::lengths)))
    answers.emplace_back(answer.begin(), answer.end());
  return answers;
}

void check_lengths(std::size_t elements, std::span<const std::int32_t> lengths) {
  std::size_t sum = 0;
  for (const auto length : lengths) {
    if (length < 0)
      throw std::invalid_argument("an answer of " + std::to_string(length) + " tokens");
    sum += static_cast<std::size_t>(length);
  }
  if (sum != elements)
    throw std::invalid_argument("lengths add up to " + std::to_string(sum) + ", the column has "
                                + std::to_string(elements));
}

namespace {

/// What the pulls of one group share.
struct pull_state {
  std::mutex mutex;
  std::vector<transport::bundle> parts;
  std::size_t missing = 0;
  std::string error;
  std::function<void(column_set, std::string)> done;
};

bool lists(std::span<const tensor_spec> layout, const std::string& name) {
  return std::any_of(layout.begin(), layout.end(), [&](const tensor_spec& spec) { return spec.name == name; });
}

/// A bundle, and which of its columns to pull.
struct wanted_part {
  ticket from;
  transport::wanted_columns columns;
};

/// @throws std::out_of_range if nobody has a required column
std::vector<wanted_part> parts_of(std::span<const ticket> tickets, const transport::wanted_columns& wanted) {
  std::vector<wanted_part> parts;
  std::vector<std::string> missing = wanted.required;
  for (const auto& from : tickets) {
    wanted_part part{from, {}};
    for (const auto& name : wanted.required)
      if (lists(from.layout, name)) {
        part.columns.required.push_back(name);
        std::erase(missing, name);
      }
    for (const auto& name : wanted.optional)
      if (lists(from.layout, name))
        part.columns.required.push_back(name);
    if (!part.columns.required.empty())
      parts.push_back(std::move(part));
  }
  if (!missing.empty())
    throw std::out_of_range(no_such_column(missing.front()));
  return parts;
}

} // namespace

void pull_columns(transport::data_plane& data, std::span<const ticket> tickets, const transport::wanted_columns& wanted,
                  std::chrono::milliseconds timeout, std::function<void(column_set, std::string)> done) {
  std::vector<wanted_part> to_pull;
  try {
    to_pull = parts_of(tickets, wanted);
  } catch (const std::out_of_range& missing) {
    done({}, missing.what());
    return;
  }
  if (to_pull.empty()) {
    done({}, {});
    return;
  }
  auto state = std::make_shared<pull_state>();
  state->parts.resize(to_pull.size());
  state->missing = to_pull.size();
  state->done = std::move(done);
  for (std::size_t i = 0; i < to_pull.size(); ++i)
    data.pull(to_pull[i].from, to_pull[i].columns, timeout, [state, i](transport::pull_result result) {
      {
        const std::lock_guard lock(state->mutex);
        if (result)
          state->parts[i] = std::move(result.value);
        else if (state->error.empty())
          state->error = result.error;
        if (--state->missing > 0)
          return;
      }
      auto error = std::move(state->error);
      state->done(error.empty() ? column_set(std::move(state->parts)) : column_set{}, std::move(error));
    });
}

transport::wanted_columns wanted_by(const pipeline::role& role) {
  transport::wanted_columns wanted{.required = {}, .optional = role.reads_if_added};
  for (const auto& name : role.reads) {
    const auto* row = find_column(name);
    const bool promised = row == nullptr || row->presence == column_presence::always;
    std::erase(wanted.optional, name);
    (promised ? wanted.required : wanted.optional).push_back(name);
  }
  return wanted;
}

} // namespace millrace::columns
