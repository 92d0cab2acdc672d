#include "runtime/supervision/saved_position.hpp"

#include "runtime/words/input_error.hpp"

#include <sstream>

namespace millrace::supervision {

std::string saved_text(const source_position& position) {
  std::ostringstream text;
  text << position.index;
  for (const auto& at : position.sources)
    text << ' ' << at.epoch << ' ' << at.next << ' ' << at.rows;
  if (position.sources.size() > 1)
    for (const auto& at : position.sources)
      text << ' ' << at.given << ' ' << at.ended;
  text << '\n';
  return text.str();
}

source_position position_from(const std::string& text) {
  std::istringstream words(text);
  source_position position;
  bool whole = static_cast<bool>(words >> position.index);
  std::vector<std::uint64_t> rest;
  for (std::uint64_t number = 0; words >> number;)
    rest.push_back(number);
  const std::size_t each = rest.size() == 3 ? 3 : 5;
  if (!whole || !words.eof() || rest.empty() || rest.size() % each != 0)
    throw input_error("damaged, want the index and three numbers, or five for each of several sources");
  const std::size_t count = rest.size() / each;
  for (std::size_t i = 0; i < count; ++i) {
    auto& at = position.sources.emplace_back(
        source_place{.epoch = rest[3 * i], .next = rest[3 * i + 1], .rows = rest[3 * i + 2]});
    if (count > 1) {
      at.given = rest[3 * count + 2 * i];
      at.ended = rest[3 * count + 2 * i + 1] != 0;
    }
  }
  return position;
}

} // namespace millrace::supervision
