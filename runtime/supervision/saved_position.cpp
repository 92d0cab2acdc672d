#include "runtime/supervision/saved_position.hpp"

#include "runtime/words/input_error.hpp"

#include <algorithm>
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
  const bool measured = std::any_of(position.sources.begin(), position.sources.end(),
                                    [](const source_place& at) { return at.draws > 0 || !at.rates.empty(); });
  if (!measured)
    return text.str();
  text << "drawn";
  for (const auto& [source, row] : position.drawn)
    text << ' ' << source << ' ' << row;
  for (const auto& at : position.sources) {
    text << "\ndraws " << at.draws << "\nrates";
    for (const auto& [row, rate] : at.rates)
      text << ' ' << row << ' ' << rate;
    text << "\nresting";
    for (const auto row : at.resting)
      text << ' ' << row;
  }
  text << '\n';
  return text.str();
}

namespace {

input_error damaged() {
  return input_error("damaged, want the index and three numbers, or five for each of several sources");
}

using numbers = std::vector<std::uint64_t>;

/// The numbers of a line that begins with `word`.
numbers line_of(std::istream& text, const std::string& word, std::size_t multiple) {
  std::string line, first;
  std::getline(text, line);
  std::istringstream words(line);
  numbers found;
  if (!word.empty() && (!(words >> first) || first != word))
    throw damaged();
  for (std::uint64_t number = 0; words >> number;)
    found.push_back(number);
  if (!words.eof() || found.size() % multiple != 0)
    throw damaged();
  return found;
}

void read_measured(std::istream& text, source_position& position) {
  const auto drawn = line_of(text, "drawn", 2);
  for (std::size_t i = 0; i < drawn.size(); i += 2)
    position.drawn.push_back({static_cast<std::uint32_t>(drawn[i]), drawn[i + 1]});
  for (auto& at : position.sources) {
    const auto draws = line_of(text, "draws", 1), rates = line_of(text, "rates", 2);
    if (draws.size() != 1)
      throw damaged();
    at.draws = draws[0];
    for (std::size_t i = 0; i < rates.size(); i += 2)
      at.rates.push_back({rates[i], static_cast<std::uint32_t>(rates[i + 1])});
    at.resting = line_of(text, "resting", 1);
  }
}

} // namespace

source_position position_from(const std::string& text) {
  std::istringstream lines(text);
  source_position position;
  auto rest = line_of(lines, "", 1);
  if (rest.size() < 4)
    throw damaged();
  position.index = rest[0];
  rest.erase(rest.begin());
  const std::size_t each = rest.size() == 3 ? 3 : 5;
  if (rest.size() % each != 0)
    throw damaged();
  const std::size_t count = rest.size() / each;
  for (std::size_t i = 0; i < count; ++i) {
    auto& at = position.sources.emplace_back();
    at.epoch = rest[3 * i];
    at.next = rest[3 * i + 1];
    at.rows = rest[3 * i + 2];
    if (count > 1) {
      at.given = rest[3 * count + 2 * i];
      at.ended = rest[3 * count + 2 * i + 1] != 0;
    }
  }
  if (lines.peek() != std::istream::traits_type::eof())
    read_measured(lines, position);
  return position;
}

} // namespace millrace::supervision
