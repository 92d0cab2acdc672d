#include "runtime/cluster/gpus.hpp"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <string_view>
#include <system_error>

namespace millrace::cluster {
namespace {

/// "nvidia0", and not "nvidiactl".
bool is_device(std::string_view name) {
  constexpr std::string_view head = "nvidia";
  return name.size() > head.size() && name.starts_with(head)
         && std::ranges::all_of(name.substr(head.size()), [](unsigned char c) { return std::isdigit(c) != 0; });
}

std::size_t entries(const std::filesystem::path& folder, bool (*counts)(std::string_view)) {
  std::size_t found = 0;
  std::error_code none;
  for (std::filesystem::directory_iterator entry(folder, none), end; !none && entry != end; entry.increment(none))
    found += counts(entry->path().filename().string());
  return found;
}

std::vector<std::string> listed(std::string_view variable) {
  std::vector<std::string> found;
  while (!variable.empty()) {
    const auto comma = std::min(variable.find(','), variable.size());
    auto entry = variable.substr(0, comma);
    variable.remove_prefix(std::min(comma + 1, variable.size()));
    while (entry.starts_with(' '))
      entry.remove_prefix(1);
    while (entry.ends_with(' '))
      entry.remove_suffix(1);
    if (entry.empty() || entry.starts_with('-')) // CUDA reads no further
      break;
    found.emplace_back(entry);
  }
  return found;
}

} // namespace

gpu_sources gpu_sources::here() {
  gpu_sources found;
  if (const char* variable = std::getenv(gpus_variable))
    found.variable = variable;
  return found;
}

std::vector<std::string> visible_gpus(const gpu_sources& from) {
  if (from.variable)
    return listed(*from.variable);
  auto there = entries(from.devices, is_device);
  if (there == 0)
    there = entries(from.driver, [](std::string_view) { return true; });
  std::vector<std::string> found;
  for (std::size_t i = 0; i < there; ++i)
    found.push_back(std::to_string(i));
  return found;
}

} // namespace millrace::cluster
