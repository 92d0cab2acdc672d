#pragma once

#include "runtime/transport/data_plane.hpp"

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::actors {

/// The columns of one group, out of the bundles that several roles added.
class column_set {
public:
  column_set() = default;
  explicit column_set(std::vector<transport::bundle> parts) : parts_(std::move(parts)) {}

  bool has(std::string_view name) const;

  /// @throws std::out_of_range naming the column if no bundle has it; std::invalid_argument if it has another type
  template <class T>
  std::span<const T> view(std::string_view name) const {
    return part_with(name).view<T>(name);
  }

  const std::vector<transport::bundle>& parts() const { return parts_; }

private:
  const transport::bundle& part_with(std::string_view name) const;

  std::vector<transport::bundle> parts_;
};

/// Cuts a packed column into its answers. @throws std::invalid_argument if the lengths do not add up to the column
template <class T>
std::vector<std::span<const T>> by_answer(std::span<const T> packed, std::span<const std::int32_t> lengths);

/// Pulls every ticket that has one of the `wanted` columns (all of them if `wanted` is empty).
///
/// @param done called exactly once, on the data plane's thread (or at once): must not block; `error` is one line, "" = ok
void pull_columns(transport::data_plane& data, std::span<const transport::ticket> tickets,
                  std::span<const std::string> wanted, std::chrono::milliseconds timeout,
                  std::function<void(column_set, std::string error)> done);

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

} // namespace millrace::actors
