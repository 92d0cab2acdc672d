#include "runtime/rules/worker_rule.hpp"
#include "runtime/workers/reward_worker.hpp"

namespace millrace::rules {

extern const rule_type reasoning_gym;

namespace {

std::unique_ptr<rule> make_reasoning_gym(const option_values& given) {
  const auto text = [&](const char* name) { return std::get<std::string>(given.at(name)); };
  worker_settings settings{.form = question_form::calls};
  take_worker_options(given, settings);
  settings.command.arguments = {text("python"),  "-c",           workers::reward_worker_script, "",
                                text("extract"), "reasoning_gym"};
  return std::make_unique<worker_rule>(std::move(settings));
}

std::vector<option> reasoning_gym_options() {
  std::vector<option> options{
      {.name = "extract",
       .fallback = std::string("tag"),
       .allowed = one_of({"tag", "all"}),
       .meaning = "what the scorer gets: the text of the last <answer>...</answer>, or the whole answer"},
      {.name = "python",
       .fallback = std::string("python3"),
       .allowed = any(),
       .meaning = "a Python that has reasoning-gym: a path, or a name to look for in PATH"}};
  for (option& o : worker_options())
    options.push_back(std::move(o));
  return options;
}

} // namespace

const rule_type reasoning_gym{.name = "reasoning_gym",
                              .meaning =
                                  "what the row's own data set of reasoning-gym gives; other rows: nothing to say",
                              .options = reasoning_gym_options(),
                              .make = make_reasoning_gym,
                              .outside = true};

} // namespace millrace::rules
