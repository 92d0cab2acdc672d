#include "actors/process/run_inputs.hpp"
#include "runtime/data/source.hpp"
#include "runtime/formats/quoted.hpp"
#include "runtime/pipeline/schedule_config.hpp"
#include "runtime/pipeline/stages.hpp"
#include "runtime/roles/source_role.hpp"
#include "runtime/words/input_error.hpp"
#include "tools/command.hpp"

#include <nlohmann/json.hpp>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace millrace::tools {

namespace {

struct check_arguments {
  std::string file;
  std::vector<std::string> overrides;
  bool keys = false;
  bool resolved = false;
  bool json = false;
};

/// What is said of rows up to the first that can be used: how many cannot, and the first of them.
void add_row_warning(std::uint64_t skipped, const std::string& first, std::vector<std::string>& warnings) {
  if (skipped > 0)
    warnings.push_back(first + ": the row is skipped"
                       + (skipped > 1 ? ", and so are the next " + std::to_string(skipped - 1) : ""));
}

/// @throws input_error where no row can be used
std::vector<std::string> row_warnings(const pipeline::pipeline& p) {
  std::vector<std::string> warnings;
  for (const auto* source : p.of<pipeline::source_table>()) {
    const auto taken = roles::source_role(p, *source, std::nullopt).take(0);
    add_row_warning(taken.row.skipped_rows, taken.row.skipped_first, warnings);
  }
  for (const auto* role : p.of<pipeline::evaluation_table>())
    if (const auto& file = std::get<pipeline::evaluation_table>(role->options).file; !file.empty()) {
      std::uint64_t skipped = 0;
      std::string first;
      data::open_file(file, {.shuffle = false, .seed = 1, .epochs = 1, .system = {}}, [&](const std::string& line) {
        if (skipped++ == 0)
          first = line;
      })->next();
      add_row_warning(skipped, first, warnings);
    }
  return warnings;
}

/// What does not keep the pipeline from running.
std::vector<std::string> warnings_of(const pipeline::pipeline& p) {
  auto warnings = pipeline::schedule_warnings(p);
  for (auto& warning : row_warnings(p))
    warnings.push_back(std::move(warning));
  return warnings;
}

nlohmann::ordered_json in_json(const pipeline::stage& stage) {
  const auto& p = stage.what;
  nlohmann::ordered_json object{{"run", p.run.name},
                                {"steps", p.run.steps},
                                {"groups_per_step", p.schedule.groups_per_step},
                                {"preset", p.schedule.preset},
                                {"roles", nlohmann::ordered_json::array()},
                                {"warnings", warnings_of(p)}};
  if (!stage.name.empty())
    object["stage"] = stage.name;
  for (const auto& r : p.roles)
    object["roles"].push_back({{"name", r.name},
                               {"kind", r.kind()},
                               {"place", pipeline::place_of(p, r)},
                               {"from", r.from},
                               {"reads", r.reads},
                               {"adds", r.adds}});
  return object;
}

int run_check(const check_arguments& given) {
  if (given.keys) {
    std::fputs(pipeline::key_reference().c_str(), stdout);
    return 0;
  }
  if (given.file.empty())
    throw input_error("check: no FILE, want a pipeline in TOML (or --keys)");
  const auto stages = pipeline::read_stages(given.file, given.overrides);
  for (const auto& stage : stages)
    actors::check_inputs(stage.what);
  if (given.json) {
    for (const auto& stage : stages)
      std::printf("%s\n", in_json(stage).dump().c_str());
    return 0;
  }
  if (given.resolved)
    std::fputs(
        (pipeline::is_staged(stages) ? pipeline::resolved_stages(stages) : pipeline::resolved_toml(stages[0].what))
            .c_str(),
        stdout);
  else
    std::fputs(formats::printable_lines(pipeline::describe(stages)).c_str(), stdout);
  for (const auto& stage : stages)
    for (const auto& warning : given.resolved ? warnings_of(stage.what) : row_warnings(stage.what))
      std::fprintf(given.resolved ? stderr : stdout, "warning: %s\n", warning.c_str());
  return 0;
}

} // namespace

command check_command() {
  const auto given = std::make_shared<check_arguments>();
  return {.name = "check",
          .help = "Checks a pipeline, its models and its data, and says what it would run",
          .arguments = {{.name = "FILE", .to = &given->file, .help = "The pipeline, TOML"},
                        {.name = "--set",
                         .to = &given->overrides,
                         .help = "Overrides one key: a.b=value",
                         .one_at_a_time = true},
                        {.name = "--resolved",
                         .to = &given->resolved,
                         .help = "Prints the pipeline with every key spelled out and where its value comes from"},
                        {.name = "--json", .to = &given->json, .help = "A JSON object for each stage instead of words"},
                        {.name = "--keys",
                         .to = &given->keys,
                         .help = "Prints every key that a pipeline may have: default, range, meaning; needs no FILE"}},
          .run = [given] { return run_check(*given); }};
}

} // namespace millrace::tools
