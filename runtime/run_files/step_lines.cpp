#include "runtime/run_files/step_lines.hpp"

#include "runtime/formats/strict_json.hpp"
#include "runtime/formats/text_lines.hpp"

#include <nlohmann/json.hpp>

#include <optional>

namespace millrace::run_files {
namespace {

struct place {
  std::int64_t step = 0;
  std::optional<std::int64_t> part;
};

std::optional<place> place_of(const std::string& line) {
  const auto object = formats::json_or_discarded(line);
  if (!object.is_object())
    return std::nullopt;
  const auto number = [&](const char* name) {
    const auto found = object.find(name);
    return found != object.end() && found->is_number_integer() ? std::optional(found->get<std::int64_t>())
                                                               : std::nullopt;
  };
  const auto step = number("step");
  return step ? std::optional(place{*step, number("part")}) : std::nullopt;
}

template <class Take>
void for_each_line(const std::filesystem::path& path, Take take) {
  if (!std::filesystem::exists(path))
    return;
  formats::text_lines lines(path, "lines of JSON objects");
  for (std::string line; lines.next(line) && !lines.torn();) {
    const auto where = place_of(line);
    if (!where)
      return;
    take(std::move(line), *where);
  }
}

/// Only the lines up to a step, and of the parts of the one after it that are kept.
void cut_after(const std::filesystem::path& path, std::int64_t last_step, std::int64_t parts) {
  std::string kept;
  for_each_line(path, [&](std::string line, const place& where) {
    if (where.step <= last_step || (where.step == last_step + 1 && where.part && *where.part < parts))
      kept += std::move(line) + "\n";
  });
  if (std::filesystem::exists(path) && kept.size() < std::filesystem::file_size(path))
    replace_file(path, kept, survives::power_cut);
}

} // namespace

step_lines::step_lines(std::filesystem::path path, std::int64_t last_step, std::int64_t parts)
    : file_{(cut_after(path, last_step, parts), path)} {
}

void step_lines::append(std::string_view object) {
  file_.append(std::string(object) + "\n");
}

std::vector<std::string> read_step_lines(const std::filesystem::path& path) {
  std::vector<std::string> lines;
  for_each_line(path, [&](std::string line, const place&) { lines.push_back(std::move(line)); });
  return lines;
}

} // namespace millrace::run_files
