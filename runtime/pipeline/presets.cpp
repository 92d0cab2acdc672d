#include "runtime/pipeline/presets.hpp"

#include "runtime/pipeline/wording.hpp"

namespace millrace::pipeline {

void apply_preset(schedule_table& s, reading& into) {
  const std::string origin = "preset " + s.preset;
  const auto fill = [&](const std::string& path, auto& field, auto from_preset) {
    if (into.written(path))
      return;
    field = from_preset;
    into.origins[path] = origin;
  };
  const bool synchronous = s.preset == "synchronous", bounded = s.preset == "bounded";
  fill("schedule.depth", s.depth, synchronous ? 0 : bounded ? 2 : 1);
  fill("schedule.in_flight_update", s.in_flight_update, bounded);
  fill("schedule.stale.max", s.stale.max, synchronous ? 0 : bounded ? s.depth + 1 : 1);
  into.origins.emplace("schedule.stale.action", "default");

  const auto refuse = [&](const std::string& path, const std::string& found, const std::string& want) {
    into.wrong(into.place(path), path + ": found " + found + " with preset " + in_quotes(s.preset) + ", want " + want);
  };
  const std::string depth = std::to_string(s.depth), max = std::to_string(s.stale.max);
  if (synchronous) {
    const std::string why = ": it trains every group with the weights that made it";
    if (s.depth != 0)
      refuse("schedule.depth", depth, "0" + why);
    if (s.stale.max != 0)
      refuse("schedule.stale.max", max, "0" + why);
    if (s.in_flight_update)
      refuse("schedule.in_flight_update", "true", "false: no answer is under way when it publishes");
    return;
  }
  if (!bounded && s.depth != 1)
    refuse("schedule.depth", depth, "1, or preset \"bounded\"");
  if (bounded && s.depth == 0)
    refuse("schedule.depth", depth, "at least 1, or preset \"synchronous\"");
  else if (s.depth > s.stale.max)
    into.wrong(into.place(into.written("schedule.depth") ? "schedule.depth" : "schedule.stale.max"),
               "schedule.depth: found " + depth + " with stale.max = " + max +
                   ", want at most stale.max: with action \"wait\" no group may start further ahead than it may be old");
}

void fill_derived(pipeline& p, reading& into) {
  for (role& r : p.roles) {
    const std::string path = "roles." + r.name;
    if (auto* source = std::get_if<source_table>(&r.options); source && source->generator && source->generator->seed < 0) {
      source->generator->seed = p.run.seed;
      into.origins[path + ".generator.seed"] = "run.seed";
    }
    if (auto* verifier = std::get_if<rule_verifier_table>(&r.options))
      for (rule_entry& rule : verifier->rules)
        if (rule.name.empty())
          rule.name = rule.type;
  }
}

} // namespace millrace::pipeline
