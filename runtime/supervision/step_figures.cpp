#include "runtime/supervision/step_figures.hpp"

#include "runtime/formats/strict_json.hpp"
#include "runtime/telemetry/metrics.hpp"
#include "runtime/words/columns.hpp"
#include "runtime/words/input_error.hpp"

#include <nlohmann/json.hpp>

namespace millrace::supervision {
namespace {

constexpr auto parts = column::prefix_of(column::any_reward.name);

} // namespace

step_figures::step_figures(std::string_view saved) {
  const auto object = formats::parse_json(saved, "step.json of the checkpoint");
  try {
    masked_ = object.at("masked");
    for (const auto& [name, part] : object.at("sums").items())
      sums_[name] = {part.at(0), part.at(1)};
    if (const auto found = object.find("sources"); found != object.end())
      for (const auto& [name, held] : found->items())
        sources_[name] = {held.at(0), held.at(1), held.at(2)};
  } catch (const nlohmann::json::exception& error) {
    throw input_error("step.json of the checkpoint: damaged: " + std::string(error.what()));
  }
}

void step_figures::add_group(const std::map<std::string, summed>& summary, const std::string& source) {
  if (!source.empty()) {
    auto& of = sources_[source];
    ++of.groups;
    if (const auto reward = summary.find(std::string(column::reward.name));
        reward != summary.end() && reward->second.count > 0) {
      ++of.with_reward;
      of.reward += reward->second.sum / static_cast<double>(reward->second.count);
    }
  }
  for (const auto& [name, part] : summary) {
    sums_[name].sum += part.sum;
    sums_[name].count += part.count;
  }
}

std::map<std::string, double> step_figures::figures() const {
  std::map<std::string, double> out;
  for (const auto& [name, part] : sums_)
    if (part.count > 0 && name != column::reward.name)
      out[name.starts_with(parts) ? telemetry::metric::rule_reward(name.substr(parts.size())) : name] =
          part.sum / static_cast<double>(part.count);
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
  auto sums = nlohmann::json::object();
  for (const auto& [name, part] : sums_)
    sums[name] = {part.sum, part.count};
  nlohmann::json object{{"masked", masked_}, {"sums", std::move(sums)}};
  for (const auto& [name, of] : sources_)
    object["sources"][name] = {of.groups, of.with_reward, of.reward};
  return object.dump();
}

} // namespace millrace::supervision
