#include "actors/process/run_inputs.hpp"
#include "runtime/formats/quoted.hpp"
#include "runtime/pipeline/schedule_config.hpp"
#include "runtime/pipeline/stages.hpp"
#include "runtime/words/byte_count.hpp"
#include "runtime/words/input_error.hpp"
#include "tools/command.hpp"
#include "tools/commands/pipeline_arguments.hpp"
#include "tools/data_check.hpp"
#include "tools/memory_plan.hpp"
#include "tools/text_models.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace millrace::tools {

namespace {

struct check_arguments {
  pipeline_arguments pipeline;
  bool keys = false;
  bool resolved = false;
  bool json = false;
  bool data = false;
  bool memory = false;
  std::string host_memory, gpu_memory;

  /// The host that the run is to fit on. @throws input_error for a text that is no number of bytes
  tools::host_memory host() const;
};

std::optional<std::int64_t> bytes_said(const std::string& option, const std::string& text) {
  if (text.empty())
    return {};
  const auto bytes = byte_count_of(text);
  if (!bytes || bytes->bytes < 1)
    throw input_error(option + ": found \"" + formats::printable(text) + "\", want bytes such as \"24 GiB\"");
  return bytes->bytes;
}

tools::host_memory check_arguments::host() const {
  auto found = memory_of_this_host();
  if (const auto bytes = bytes_said("--host-memory", host_memory)) {
    found.bytes = *bytes;
    found.what = "memory as said";
  }
  if (const auto bytes = bytes_said("--gpu-memory", gpu_memory))
    found.gpu = bytes;
  return found;
}

nlohmann::ordered_json in_json(const pipeline::stage& stage, const std::vector<std::string>& warnings) {
  const auto& p = stage.what;
  nlohmann::ordered_json object{{"run", p.run.name},
                                {"steps", p.run.steps},
                                {"groups_per_step", p.schedule.groups_per_step},
                                {"preset", p.schedule.preset},
                                {"roles", nlohmann::ordered_json::array()},
                                {"warnings", warnings}};
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

/// What the rows of every source and evaluation are to the pipeline.
std::vector<checked_data> data_of(const std::vector<pipeline::stage>& stages) {
  std::vector<checked_data> all;
  for (const auto& stage : with_starting_models(stages))
    for (const auto& role : stage.what.roles)
      if (std::holds_alternative<pipeline::source_table>(role.options)
          || std::holds_alternative<pipeline::evaluation_table>(role.options))
        for (auto& data : check_data(stage, role))
          all.push_back(std::move(data));
  return all;
}

void print_data(const std::vector<checked_data>& all, const check_arguments& given) {
  for (const auto& data : all)
    if (given.json)
      std::printf("%s\n", in_json(data).c_str());
    else
      std::fputs(('\n' + in_words(data)).c_str(), given.resolved ? stderr : stdout);
}

/// @throws input_error for a run that would be refused
int end_of_check(const std::vector<pipeline::stage>& stages, const check_arguments& given) {
  if (given.memory)
    want_memory(stages, given.host());
  return 0;
}

int run_check(const check_arguments& given) {
  if (given.keys) {
    std::fputs(pipeline::key_reference().c_str(), stdout);
    return 0;
  }
  if (given.pipeline.files.empty())
    throw input_error("check: no FILE, want a pipeline in TOML (or --keys)");
  if (!given.memory && !(given.host_memory + given.gpu_memory).empty())
    throw input_error("check: --host-memory and --gpu-memory say what --memory compares with: want --memory too");
  const auto stages = pipeline::read_stages(given.pipeline.files, given.pipeline.overrides);
  std::vector<checked_data> data;
  if (given.data)
    data = data_of(stages);
  if (std::any_of(data.begin(), data.end(), [](const auto& each) { return each.used == 0; })) {
    print_data(data, given); // it says more than the first line of what ends such a run
    throw input_error("check: found data of which no row can be used, want some");
  }
  std::vector<std::vector<std::string>> warnings; // by stage
  for (const auto& stage : stages) {
    // The words that describe a pipeline hold those of its schedule.
    const bool described = !given.json && !given.resolved;
    auto& all = warnings.emplace_back(described ? std::vector<std::string>() : pipeline::schedule_warnings(stage.what));
    for (auto& line : actors::check_inputs(stage.what))
      all.push_back(std::move(line));
  }
  if (given.json) {
    for (std::size_t i = 0; i < stages.size(); ++i) {
      auto object = in_json(stages[i], warnings[i]);
      if (given.memory)
        object["memory"] = nlohmann::ordered_json::parse(in_json(memory_plan_of(stages[i].what), given.host()));
      std::printf("%s\n", object.dump().c_str());
    }
    print_data(data, given);
    return end_of_check(stages, given);
  }
  if (given.resolved)
    std::fputs(pipeline::resolved_stages(stages).c_str(), stdout);
  else
    std::fputs(formats::printable_lines(pipeline::describe(stages)).c_str(), stdout);
  for (const auto& of_stage : warnings)
    for (const auto& warning : of_stage)
      std::fprintf(given.resolved ? stderr : stdout, "warning: %s\n", warning.c_str());
  print_data(data, given);
  if (given.memory)
    std::fputs(('\n' + memory_in_words(stages, given.host())).c_str(), given.resolved ? stderr : stdout);
  return end_of_check(stages, given);
}

} // namespace

command check_command() {
  const auto given = std::make_shared<check_arguments>();
  return {.name = "check",
          .help = "Checks a pipeline, its models and its data, and says what it would run",
          .arguments = {given->pipeline.file(false),
                        given->pipeline.set(),
                        {.name = "--resolved",
                         .to = &given->resolved,
                         .help = "Prints the pipeline with every key spelled out and where its value comes from"},
                        {.name = "--data",
                         .to = &given->data,
                         .help = "Reads every row of every source and evaluation: what is skipped and why, how long "
                                 "prompts are, the first ones as the model sees them, and whether each rule gives the "
                                 "rows' own expected answers full marks. Loads the tokenizer, no weights"},
                        {.name = "--memory",
                         .to = &given->memory,
                         .help = "How much memory each process takes at most, by role and kind; a run that does not "
                                 "fit on this host is refused, with the smallest change that makes it fit"},
                        {.name = "--host-memory",
                         .to = &given->host_memory,
                         .help = "With --memory: the bytes of the host that the run is for, in place of this one's: "
                                 "\"24 GiB\""},
                        {.name = "--gpu-memory", .to = &given->gpu_memory, .help = "The same of all its GPUs together"},
                        {.name = "--json",
                         .to = &given->json,
                         .help = "A JSON object for each stage, and with --data for each source, instead of words"},
                        {.name = "--keys",
                         .to = &given->keys,
                         .help = "Prints every key that a pipeline may have: default, range, meaning; needs no FILE"}},
          .run = [given] { return run_check(*given); }};
}

} // namespace millrace::tools
