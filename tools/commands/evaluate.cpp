#include "runtime/pipeline/located.hpp"
#include "runtime/roles/evaluation_core.hpp"
#include "runtime/roles/role_model.hpp"
#include "runtime/roles/rule_verifier_role.hpp"
#include "runtime/words/cores.hpp"
#include "runtime/words/input_error.hpp"
#include "tools/command.hpp"
#include "tools/commands/inference_model.hpp"
#include "tools/commands/pipeline_arguments.hpp"

#include <nlohmann/json.hpp>

#include <chrono>
#include <cstdio>
#include <memory>

namespace millrace::tools {
namespace {

struct evaluate_arguments {
  pipeline_arguments pipeline;
  std::string model, role;
  bool answers = false;
};

/// The evaluation that is meant: by its name, or the pipeline's only one.
const pipeline::role& role_of(const pipeline::pipeline& p, const std::string& name) {
  const auto all = p.of<pipeline::evaluation_table>();
  std::string names;
  for (const auto* role : all) {
    names += (names.empty() ? "" : ", ") + role->name;
    if (role->name == name || (name.empty() && all.size() == 1))
      return *role;
  }
  throw input_error(p.file.string() + ": found "
                    + (all.empty() ? "no role of kind \"evaluation\"" : "evaluations " + names)
                    + (name.empty() ? ", want one, or --role" : ", want one called " + name));
}

int run_evaluate(const evaluate_arguments& given) {
  const auto p = pipeline::read_pipeline(given.pipeline.files, given.pipeline.overrides);
  const auto& role = role_of(p, given.role);
  auto table = std::get<pipeline::evaluation_table>(role.options);
  const bool threads_written = p.origins.at("roles." + role.name + ".threads") != "default";
  if (!threads_written) // nothing else works here
    table.threads = cores_here();
  auto model =
      load_inference_model(given.model, p.models.at(table.model).chat_template, roles::device_for(p, role, table.model),
                           sampled_as(p.models.at(table.model).dtype));
  auto player = roles::player_of(table, p);
  const auto work = pipeline::located(p, pipeline::rows_key(table, "roles." + role.name), [&] {
    return roles::evaluation_core(table, std::move(model.about), std::move(player));
  });
  roles::start(work.rules(), p, role.name);
  if (work.skipped() > 0)
    std::fprintf(stderr, "%zu rows skipped, the first: %s\n", work.skipped(), work.skipped_first().c_str());
  const auto start = std::chrono::steady_clock::now();
  const auto print = [](const std::string& line) {
    std::printf("%s\n", line.c_str());
    std::fflush(stdout);
  };
  roles::evaluation_core::on_answers each;
  if (given.answers)
    each = [&](const auto& row, const auto& answers) { print(roles::answers_line(row, answers)); };
  const auto tally = work.run(model.policy, {}, {}, each);
  print(nlohmann::json(tally.figures()).dump());
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  std::fprintf(stderr, "%zu prompts of %s, %lld tokens sampled in %.1f s\n", work.rows(), role.name.c_str(),
               static_cast<long long>(tally.tokens()), seconds);
  return 0;
}

} // namespace

command evaluate_command() {
  const auto given = std::make_shared<evaluate_arguments>();
  return {
      .name = "evaluate",
      .help = "Ask a model a pipeline's held-out prompts; figures as one JSON object on stdout",
      .footer =
          R"(The pipeline's role of kind "evaluation" says which prompts, rules and sampling; a run of it asks the same.
    millrace evaluate runs/NAME/checkpoints/best/model runs/NAME/resolved.toml --set roles.held_out.rows=500)",
      .arguments =
          {{.name = "MODEL", .to = &given->model, .help = "Hugging Face folder or .gguf file", .required = true},
           given->pipeline.file(true, "PIPELINE"),
           {.name = "--role", .to = &given->role, .help = "Which evaluation, where the pipeline has several"},
           given->pipeline.set(),
           {.name = "--answers",
            .to = &given->answers,
            .help = "One JSON line a prompt before the figures: texts, rewards, votes"}},
      .run = [given] { return run_evaluate(*given); }};
}

} // namespace millrace::tools
