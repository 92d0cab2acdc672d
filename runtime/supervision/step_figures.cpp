#include "runtime/supervision/step_figures.hpp"

#include "runtime/formats/strict_json.hpp"
#include "runtime/telemetry/metrics.hpp"
#include "runtime/words/input_error.hpp"

#include <nlohmann/json.hpp>

namespace millrace::supervision {

step_figures::step_figures(std::string_view saved) {
  const auto object = formats::parse_json(saved, "step.json of the checkpoint");
  try {
    groups_ = object.at("groups");
    masked_ = object.at("masked");
    sums_ = object.at("sums");
  } catch (const nlohmann::json::exception& error) {
    throw input_error("step.json of the checkpoint: damaged: " + std::string(error.what()));
  }
}

void step_figures::add_group(const std::map<std::string, double>& summary) {
  ++groups_;
  for (const auto& [name, value] : summary)
    sums_[name] += value;
}

std::map<std::string, double> step_figures::figures() const {
  std::map<std::string, double> out;
  for (const auto& [name, sum] : sums_)
    if (name.starts_with("reward."))
      out[telemetry::metric::rule_reward(name.substr(7))] = sum / static_cast<double>(groups_);
    else if (name != "reward")
      out[name] = sum;
  if (masked_ > 0)
    out["tokens/masked"] = static_cast<double>(masked_);
  return out;
}

std::string step_figures::saved() const {
  return nlohmann::json{{"groups", groups_}, {"masked", masked_}, {"sums", sums_}}.dump();
}

} // namespace millrace::supervision
