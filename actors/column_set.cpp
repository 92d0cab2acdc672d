#include "actors/column_set.hpp"

#include <algorithm>
#include <mutex>
#include <stdexcept>

namespace millrace::actors {

bool column_set::has(std::string_view name) const {
  return std::any_of(parts_.begin(), parts_.end(), [&](const auto& part) { return part.has(name); });
}

const transport::bundle& column_set::part_with(std::string_view name) const {
  for (const auto& part : parts_)
    if (part.has(name))
      return part;
  throw std::out_of_range("column '" + std::string(name) + "' is not among the group's columns");
}

void check_lengths(std::size_t elements, std::span<const std::int32_t> lengths) {
  std::size_t sum = 0;
  for (const auto length : lengths) {
    if (length < 0)
      throw std::invalid_argument("an answer of " + std::to_string(length) + " tokens");
    sum += static_cast<std::size_t>(length);
  }
  if (sum != elements)
    throw std::invalid_argument("lengths add up to " + std::to_string(sum) + ", the column has " + std::to_string(elements));
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

bool is_wanted(const transport::ticket& ticket, std::span<const std::string> wanted) {
  return wanted.empty() || std::any_of(ticket.layout.begin(), ticket.layout.end(), [&](const auto& spec) {
           return std::find(wanted.begin(), wanted.end(), spec.name) != wanted.end();
         });
}

} // namespace

void pull_columns(transport::data_plane& data, std::span<const transport::ticket> tickets,
                  std::span<const std::string> wanted, std::chrono::milliseconds timeout,
                  std::function<void(column_set, std::string)> done) {
  std::vector<transport::ticket> to_pull;
  for (const auto& ticket : tickets)
    if (is_wanted(ticket, wanted))
      to_pull.push_back(ticket);
  if (to_pull.empty()) {
    done({}, {});
    return;
  }
  auto state = std::make_shared<pull_state>();
  state->parts.resize(to_pull.size());
  state->missing = to_pull.size();
  state->done = std::move(done);
  for (std::size_t i = 0; i < to_pull.size(); ++i)
    data.pull(to_pull[i], timeout, [state, i](transport::pull_result result) {
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

} // namespace millrace::actors
