#include "runtime/pipeline/schedule_config.hpp"
#include "runtime/schedule/presets.hpp"
#include "runtime/words/input_error.hpp"
#include "tools/command.hpp"

#include <nlohmann/json.hpp>

#include <cstdio>
#include <iostream>
#include <memory>

namespace millrace::tools {

namespace {

const schedule::preset_row& row_of(const std::string& name) {
  schedule::preset(name); // refuses a name that is none
  for (const auto& row : schedule::presets())
    if (row.name == name)
      return row;
  throw input_error("no preset " + name);
}

int list_presets() {
  for (const auto& row : schedule::presets())
    std::printf("%-18s %s (%s)\n", std::string(row.name).c_str(), std::string(row.summary).c_str(),
                std::string(row.source).c_str());
  return 0;
}

/// The keys as a file would have them, a table a line where it says anything but what `plain` says.
int show_preset(const schedule::preset_row& row) {
  std::cout << "# " << row.summary << "\n# " << row.source << "\n\n[schedule]\npreset = \"" << row.name << "\"\n";
  std::string table;
  for (const auto& [path, value] : pipeline::schedule_keys(row.schedule)) {
    const auto dot = path.find('.');
    if (path.starts_with("faults."))
      continue; // not a preset's
    if (path.substr(0, dot) != table) {
      table = path.substr(0, dot);
      std::cout << "\n[schedule." << table << "]\n";
    }
    std::cout << path.substr(dot + 1) << " = " << value << '\n';
  }
  return 0;
}

/// One JSON object for each key that differs; the same as words.
int compare_presets(const schedule::preset_row& a, const schedule::preset_row& b) {
  const auto left = pipeline::schedule_keys(a.schedule), right = pipeline::schedule_keys(b.schedule);
  for (std::size_t i = 0; i < left.size(); ++i) {
    if (left[i].second == right[i].second)
      continue;
    nlohmann::ordered_json line{{"key", "schedule." + left[i].first},
                                {std::string(a.name), left[i].second},
                                {std::string(b.name), right[i].second}};
    std::cout << line.dump() << '\n';
    std::fprintf(stderr, "%-28s %-14s %s\n", ("schedule." + left[i].first).c_str(), left[i].second.c_str(),
                 right[i].second.c_str());
  }
  return 0;
}

} // namespace

command schedule_command() {
  const auto names = std::make_shared<std::vector<std::string>>();
  return {
      .name = "schedule",
      .help = "The presets of [schedule]: what other systems do, as keys of ours",
      .commands = {
          {.name = "list", .help = "Every preset, one line each", .run = list_presets},
          {.name = "show",
           .help = "One preset, in words and as TOML",
           .arguments = {{.name = "NAME", .to = names.get(), .help = "The preset", .required = true, .count = 1}},
           .run = [names] { return show_preset(row_of(names->at(0))); }},
          {.name = "diff",
           .help = "The keys in which two presets differ",
           .arguments = {{.name = "NAME", .to = names.get(), .help = "The two presets", .required = true, .count = 2}},
           .run = [names] { return compare_presets(row_of(names->at(0)), row_of(names->at(1))); }}}};
}

} // namespace millrace::tools
