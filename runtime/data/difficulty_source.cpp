#include "runtime/data/difficulty_source.hpp"

#include "runtime/words/input_error.hpp"

namespace millrace::data {
namespace {

std::vector<std::uint64_t> nothing_ahead() {
  return {};
}

} // namespace

std::optional<row> difficulty_source::next() {
  while (const auto number = order_.draw()) {
    if (auto found = rows_.read(*number, nothing_ahead))
      return found;
    order_.unusable(*number);
  }
  rows_.want_one();
  throw input_error(rows_.name() + ": none of its " + std::to_string(rows_.count()) + " rows can be used");
}

row difficulty_source::at(std::uint64_t number) {
  auto found = number < rows_.count() ? rows_.read(number, nothing_ahead) : std::nullopt;
  if (!found)
    throw input_error(rows_.name() + ": row " + std::to_string(number + 1) + " cannot be read any more");
  return *std::move(found);
}

void difficulty_source::restore(const position& at) {
  if (at.rows != 0 && at.rows != rows_.count())
    throw input_error(rows_.name() + ": found " + std::to_string(rows_.count()) + " rows, want the "
                      + std::to_string(at.rows) + " of the saved position");
}

} // namespace millrace::data
