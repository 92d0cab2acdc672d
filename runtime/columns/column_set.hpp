#pragma once

#include "runtime/pipeline/pipeline.hpp"
#include "runtime/transport/data_plane.hpp"
#include "runtime/words/columns.hpp"

#include <chrono>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace millrace::columns {

/// The columns of one group, out of the bundles that several roles added.
class column_set {
public:
  column_set() = default;

  explicit column_set(transport::bundle part) : parts_{std::move(part)} {}

  explicit column_set(std::vector<transport::bundle> parts) : parts_(std::move(parts)) {}

  bool has(std::string_view name) const;

  template <column_key Column>
  bool has(const Column& column) const {
    return has(std::string_view(column.name));
  }

  /// The elements of a column.
  /// @throws std::out_of_range naming the column if no bundle has it; std::invalid_argument if it arrived with another
  /// type
  template <column_key Column>
  std::span<const typename Column::element> view(const Column& column) const {
    return part_with(column.name).template view<typename Column::element>(column.name);
  }

  const std::vector<transport::bundle>& parts() const { return parts_; }

private:
  const transport::bundle& part_with(std::string_view name) const;

  std::vector<transport::bundle> parts_;
};

/// Cuts a packed column into its answers. @throws std::invalid_argument if the lengths do not add up to the column
template <class T>
std::vector<std::span<const T>> by_answer(std::span<const T> packed, std::span<const std::int32_t> lengths);

/// The answers' tokens of a group: `column::tokens` cut by `column::lengths`. @throws as `by_answer` and `view`
std::vector<std::vector<std::int32_t>> answers_in(const column_set& columns);

/// "column 'reward' is not among the group's columns"
std::string no_such_column(std::string_view name);

/// Pulls the wanted columns out of the bundles that have them, and no others.
/// @param done called exactly once, on the data plane's thread (or at once): must not block; `error` is one line, "" =
/// ok. It is an error if no bundle has a column that is required
void pull_columns(transport::data_plane& data, std::span<const ticket> tickets, const transport::wanted_columns& wanted,
                  std::chrono::milliseconds timeout, std::function<void(column_set, std::string error)> done);

/// The columns that a role pulls of a group: all that it reads. A column is optional if the table of columns does not
/// promise it for every group, or if the role reads it only where it is added.
transport::wanted_columns wanted_by(const pipeline::role& role);

// -- implementation of the template -----------------------------------------------------------------------------------

void check_lengths(std::size_t elements, std::span<const std::int32_t> lengths);

template <class T>
std::vector<std::span<const T>> by_answer(std::span<const T> packed, std::span<const std::int32_t> lengths) {
  check_lengths(packed.size(), lengths);
  std::vector<std::span<const T>> answers;
  std::size_t at = 0;
  for (const auto length : lengths) {
    answers.push_back(packed.subspan(at, static_cast<std::size_t>(length)));
    at += static_cast<std::size_t>(length);
  }
  return answers;
}

} // namespace millrace::columns
