#include "runtime/report/html_report.hpp"
#include "runtime/report/run_figures.hpp"
#include "runtime/run_files/storage.hpp"
#include "tools/command.hpp"

#include <nlohmann/json.hpp>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <vector>

namespace millrace::tools {
namespace {

struct report_arguments {
  std::vector<std::filesystem::path> folders;
  std::filesystem::path output;
  bool json = false;
};

nlohmann::ordered_json in_json(const std::vector<report::recorded_run>& runs, const std::filesystem::path& output) {
  nlohmann::ordered_json object{{"report", output.string()}, {"runs", nlohmann::ordered_json::array()}};
  for (const auto& run : runs) {
    nlohmann::ordered_json figures;
    for (const auto& [name, words, value] : report::key_figures(run))
      figures[name] = std::isfinite(value) ? nlohmann::ordered_json(value) : nlohmann::ordered_json(words);
    object["runs"].push_back({{"run", run.label}, {"figures", std::move(figures)}});
  }
  return object;
}

int write_report(const report_arguments& given) {
  std::vector<report::recorded_run> runs;
  for (const auto& folder : given.folders)
    runs.push_back(report::read_recorded_run(folder));
  const auto output = given.output.empty() ? given.folders.front() / "report.html" : given.output;
  run_files::replace_file(output, report::html_report(runs));
  if (given.json) {
    std::printf("%s\n", in_json(runs, output).dump().c_str());
    return 0;
  }
  for (const auto& run : runs) {
    std::printf("%s\n", run.label.c_str());
    for (const auto& [name, words, value] : report::key_figures(run))
      std::printf("  %-38s %s\n", name.c_str(), words.c_str());
  }
  std::printf("wrote %s\n", output.c_str());
  return 0;
}

} // namespace

command report_command() {
  const auto given = std::make_shared<report_arguments>();
  return {.name = "report",
          .help = "Explain runs in one HTML file that opens offline: where every second and every token went",
          .arguments = {{.name = "RUN",
                         .to = &given->folders,
                         .help = "Folders of runs; several are shown side by side",
                         .required = true},
                        {.name = "--output",
                         .to = &given->output,
                         .help = "The file to write (report.html in the first run's folder)"},
                        {.name = "--json", .to = &given->json, .help = "One JSON object instead of words"}},
          .run = [given] { return write_report(*given); }};
}

} // namespace millrace::tools
