#include "runtime/telemetry/step_lines.hpp"

#include <nlohmann/json.hpp>

#include <optional>

namespace millrace::telemetry {
namespace {

std::optional<std::int64_t> step_of(const std::string& line) {
  const auto object = nlohmann::json::parse(line, nullptr, false);
  if (!object.is_object())
    return std::nullopt;
  const auto step = object.find("step");
  return step != object.end() && step->is_number_integer() ? std::optional(step->get<std::int64_t>()) : std::nullopt;
}

std::string text_of(const std::filesystem::path& path) {
  return std::filesystem::exists(path) ? read_file(path) : std::string{};
}

template <class Take> void for_each_line(const std::string& text, Take take) {
  std::size_t begin = 0;
  for (std::size_t end = 0; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1) {
    std::string line = text.substr(begin, end - begin);
    const auto step = step_of(line);
    if (!step)
      return;
    take(std::move(line), *step);
  }
}

} // namespace

step_lines::step_lines(std::filesystem::path path, std::int64_t last_step) : path_{std::move(path)} {
  const std::string text = text_of(path_);
  std::string kept;
  for_each_line(text, [&](std::string line, std::int64_t step) {
    if (step <= last_step)
      kept += std::move(line) + "\n";
  });
  if (kept.size() < text.size())
    replace_file(path_, kept);
  file_ = open_to_append(path_);
}

void step_lines::append(std::string_view object) { append_whole(file_, std::string(object) + "\n", path_); }

std::vector<std::string> read_step_lines(const std::filesystem::path& path) {
  std::vector<std::string> lines;
  for_each_line(text_of(path), [&](std::string line, std::int64_t) { lines.push_back(std::move(line)); });
  return lines;
}

} // namespace millrace::telemetry
