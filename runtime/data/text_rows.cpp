#include "runtime/data/text_rows.hpp"

#include "runtime/formats/strict_json.hpp"
#include "runtime/formats/text_lines.hpp"
#include "runtime/words/input_error.hpp"

#include <nlohmann/json.hpp>

namespace millrace::data {

text_rows::text_rows(const std::filesystem::path& file) {
  formats::text_lines lines(file, "a JSONL file");
  for (std::string line; lines.next(line);) {
    if (formats::is_blank(line))
      continue;
    const auto object = formats::json_or_discarded(line);
    const auto text = object.is_object() ? object.find("text") : object.end();
    if (!object.is_object() || text == object.end() || !text->is_string()
        || text->get_ref<const std::string&>().empty())
      throw input_error(lines.where() + ": found no text, want an object with some under \"text\"");
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
