#include "runtime/report/run_differences.hpp"

#include <algorithm>
#include <map>
#include <set>

namespace millrace::report {
namespace {

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r"), last = text.find_last_not_of(" \t\r");
  return first == std::string_view::npos ? std::string_view() : text.substr(first, last + 1 - first);
}

/// The line up to its comment: the first # that is in no string.
std::string_view without_comment(std::string_view line) {
  bool quoted = false;
  for (std::size_t i = 0; i < line.size(); ++i)
    if (line[i] == '"')
      quoted = !quoted;
    else if (quoted && line[i] == '\\')
      ++i;
    else if (!quoted && line[i] == '#')
      return line.substr(0, i);
  return line;
}

const std::string* value_of(const recorded_run& run, const std::string& key) {
  const auto found =
      std::find_if(run.settings.begin(), run.settings.end(), [&](const auto& s) { return s.first == key; });
  return found == run.settings.end() ? nullptr : &found->second;
}

bool all_equal(const std::vector<std::string>& values) {
  return std::all_of(values.begin(), values.end(), [&](const auto& value) { return value == values.front(); });
}

} // namespace

run_settings settings_in(std::string_view resolved) {
  run_settings settings;
  std::map<std::string, int> entries; // of each list of tables
  std::string table;
  while (!resolved.empty()) {
    const auto end = std::min(resolved.find('\n'), resolved.size());
    const auto line = trimmed(without_comment(resolved.substr(0, end)));
    resolved.remove_prefix(std::min(end + 1, resolved.size()));
    if (line.starts_with("[[") && line.ends_with("]]")) {
      const std::string list(line.substr(2, line.size() - 4));
      table = list + '.' + std::to_string(entries[list]++) + '.';
    } else if (line.starts_with('[') && line.ends_with(']')) {
      table = std::string(line.substr(1, line.size() - 2)) + '.';
    } else if (const auto equals = line.find('='); equals != std::string_view::npos) {
      settings.emplace_back(table + std::string(trimmed(line.substr(0, equals))),
                            std::string(trimmed(line.substr(equals + 1))));
    }
  }
  return settings;
}

std::vector<difference> differences(std::span<const recorded_run> runs) {
  std::vector<difference> found;
  const auto add = [&](const std::string& what, auto value) {
    difference entry{what, {}};
    for (const auto& run : runs)
      entry.values.push_back(value(run));
    if (!all_equal(entry.values))
      found.push_back(std::move(entry));
  };
  add("machine", [](const recorded_run& run) { return run.status.machine; });
  std::set<std::string> seen;
  for (const auto& run : runs)
    for (const auto& [key, written] : run.settings)
      if (seen.insert(key).second)
        add(key, [&, &wanted = key](const recorded_run& of) {
          const auto* value = value_of(of, wanted);
          return value ? *value : std::string();
        });
  return found;
}

} // namespace millrace::report
