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
    if (const auto found = object.find("sources"); found != object.end())
      for (const auto& [name, held] : found->items())
        sources_[name] = {held.at(0), held.at(1), held.at(2)};
  } catch (const nlohmann::json::exception& error) {
    throw input_error("step.json of the checkpoint: damaged: " + std::string(error.what()));
  }
}

void step_figures::add_group(const std::map<std::string, double>& summary, const std::string& source) {
  ++groups_;
  if (!source.empty()) {
    auto& of = sources_[source];
    ++of.groups;
    if (const auto reward = summary.find("reward"); reward != summary.end()) {
      ++of.with_reward;
      of.reward += reward->second;
    }
  }
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
  for (const auto& [name, of] : sources_) {
    out[telemetry::metric::source_groups(name)] = static_cast<double>(of.groups);
    if (of.with_reward > 0)
      out[telemetry::metric::source_reward(name)] = of.reward / static_cast<double>(of.with_reward);
  }
  if (masked_ > 0)
    out["tokens/masked"] = static_cast<double>(masked_);
  return out;
}

std::string step_figures::saved() const {
  nlohmann::json object{{"groups", groups_}, {"masked", masked_}, {"sums", sums_}};
  for (const auto& [name, of] : sources_)
    object["sources"][name] = {of.groups, of.with_reward, of.reward};
  return object.dump();
}

} // namespace millrace::supervision
