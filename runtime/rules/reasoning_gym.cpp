#include "runtime/rules/worker_rule.hpp"

namespace millrace::rules {

extern const rule_type reasoning_gym;

namespace {

std::unique_ptr<rule> make_reasoning_gym(const option_values& given) {
  const auto& extract = std::get<std::string>(given.at("extract"));
  return std::make_unique<worker_rule>(reward_worker(given, "", extract, "reasoning_gym"));
}

std::vector<option> reasoning_gym_options() {
  return with_worker_options(
      {{.name = "extract",
        .fallback = std::string("tag"),
        .allowed = one_of({"tag", "all"}),
        .meaning = "what the scorer gets: the text of the last <answer>...</answer>, or the whole answer"},
       {.name = "python",
        .fallback = std::string("python3"),
        .allowed = any(),
        .meaning = "a Python that has reasoning-gym: a path, or a name to look for in PATH"}});
}

} // namespace

const rule_type reasoning_gym{.name = "reasoning_gym",
                              .meaning =
                                  "what the row's own data set of reasoning-gym gives; other rows: nothing to say",
                              .options = reasoning_gym_options(),
                              .make = make_reasoning_gym,
                              .outside = true};

} // namespace millrace::rules
