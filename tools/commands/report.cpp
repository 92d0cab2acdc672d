#include "runtime/report/html_report.hpp"
#include "runtime/report/run_figures.hpp"
#include "runtime/telemetry/storage.hpp"
#include "tools/command.hpp"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace millrace::tools {
namespace {

struct report_options {
  std::vector<std::filesystem::path> folders;
  std::filesystem::path output;
};

int write_report(const report_options& options) {
  std::vector<report::recorded_run> runs;
  for (const auto& folder : options.folders)
    runs.push_back(report::read_recorded_run(folder));
  const auto output = options.output.empty() ? options.folders.front() / "report.html" : options.output;
  telemetry::replace_file(output, report::html_report(runs));
  for (const auto& run : runs) {
    std::fprintf(stderr, "%s\n", run.label.c_str());
    for (const auto& [name, value] : report::key_figures(run))
      std::fprintf(stderr, "  %-38s %s\n", name.c_str(), value.c_str());
  }
  std::printf("%s\n", output.c_str());
  return 0;
}

} // namespace

command add_report(CLI::App& root) {
  auto options = std::make_shared<report_options>();
  auto* app = root.add_subcommand("report", "Explain runs in one HTML file that opens offline: where every second and every token went");
  app->add_option("RUN", options->folders, "Folders of runs; several are shown side by side")->required();
  app->add_option("--output", options->output, "The file to write (report.html in the first run's folder)");
  return [options] { return write_report(*options); };
}

} // namespace millrace::tools
