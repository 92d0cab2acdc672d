#include "runtime/input_error.hpp"
#include "runtime/pipeline/schedule_config.hpp"
#include "runtime/schedule/presets.hpp"
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

/// The keys as a file would have them, a table a line where it says anything but what `plain` says.
void show(const schedule::preset_row& row) {
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
}

/// One JSON object for each key that differs; the same as words.
void diff(const schedule::preset_row& a, const schedule::preset_row& b) {
  const auto left = pipeline::schedule_keys(a.schedule), right = pipeline::schedule_keys(b.schedule);
  for (std::size_t i = 0; i < left.size(); ++i) {
    if (left[i].second == right[i].second)
      continue;
    nlohmann::ordered_json line{{"key", "schedule." + left[i].first}, {std::string(a.name), left[i].second}, {std::string(b.name), right[i].second}};
    std::cout << line.dump() << '\n';
    std::fprintf(stderr, "%-28s %-14s %s\n", ("schedule." + left[i].first).c_str(), left[i].second.c_str(), right[i].second.c_str());
  }
}

} // namespace

command add_schedule(CLI::App& root) {
  auto names = std::make_shared<std::vector<std::string>>();
  auto* app = root.add_subcommand("schedule", "The presets of [schedule]: what other systems do, as keys of ours");
  app->require_subcommand(1);
  auto* list = app->add_subcommand("list", "Every preset, one line each");
  auto* shown = app->add_subcommand("show", "One preset, in words and as TOML");
  shown->add_option("NAME", *names, "The preset")->required()->expected(1);
  auto* differs = app->add_subcommand("diff", "The keys in which two presets differ");
  differs->add_option("NAME", *names, "The two presets")->required()->expected(2);
  return [=] {
    if (list->parsed())
      for (const auto& row : schedule::presets())
        std::printf("%-18s %s (%s)\n", std::string(row.name).c_str(), std::string(row.summary).c_str(), std::string(row.source).c_str());
    else if (shown->parsed())
      show(row_of(names->at(0)));
    else if (differs->parsed())
      diff(row_of(names->at(0)), row_of(names->at(1)));
    return 0;
  };
}

} // namespace millrace::tools
