#include "runtime/data/text_rows.hpp"

#include "runtime/words/input_error.hpp"

#include <nlohmann/json.hpp>

#include <fstream>

namespace millrace::data {

text_rows::text_rows(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in || std::filesystem::is_directory(file))
    throw input_error(file.string() + ": cannot be opened, want a JSONL file");
  std::size_t number = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string::npos)
      continue;
    const auto object = nlohmann::json::parse(line, nullptr, false);
    const auto text = object.is_object() ? object.find("text") : object.end();
    if (!object.is_object() || text == object.end() || !text->is_string()
        || text->get_ref<const std::string&>().empty())
      throw input_error(file.string() + ':' + std::to_string(number)
                        + ": found no text, want an object with some under \"text\"");
    texts_.push_back(text->get<std::string>());
  }
  if (texts_.empty())
    throw input_error(file.string() + ": found no row, want JSONL: one row a line");
}

std::vector<std::string> text_rows::of_step(std::uint64_t step, std::size_t count) const {
  std::vector<std::string> out;
  for (std::size_t i = 0; i < count; ++i)
    out.push_back(texts_[(step * count + i) % texts_.size()]);
  return out;
}

} // namespace millrace::data
