#include "runtime/train/reward_mix.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace millrace::train {
namespace {

constexpr double eps = 1e-6;

/// Mean and deviation of what is finite of all that has been added.
class spread {
public:
  void add(std::span<const float> values) {
    for (const float x : values)
      if (std::isfinite(x))
        all_.push_back(x);
  }

  double normalised(double x) const {
    if (!std::isfinite(x))
      return x;
    if (std::all_of(all_.begin(), all_.end(), [&](double y) { return y == all_.front(); }))
      return 0;
    double mean = 0, squares = 0;
    for (const double y : all_)
      mean += y / static_cast<double>(all_.size());
    for (const double y : all_)
      squares += (y - mean) * (y - mean);
    return (x - mean) / (std::sqrt(squares / static_cast<double>(all_.size() - 1)) + eps);
  }

private:
  std::vector<double> all_;
};

void check(const training_group& group, std::span<const reward_part> parts) {
  if (group.parts.size() != parts.size())
    throw std::invalid_argument("group " + std::to_string(group.id) + ": " + std::to_string(group.parts.size())
                                + " rewards, want " + std::to_string(parts.size()));
  for (std::size_t k = 0; k < parts.size(); ++k)
    if (group.parts[k].size() != group.answers.size())
      throw std::invalid_argument("group " + std::to_string(group.id) + ": reward." + parts[k].name + " of "
                                  + std::to_string(group.parts[k].size()) + " answers, want "
                                  + std::to_string(group.answers.size()));
}

} // namespace

normalisation normalisation_named(std::string_view name) {
  if (name == "none")
    return normalisation::none;
  if (name == "group")
    return normalisation::group;
  if (name == "batch")
    return normalisation::batch;
  throw std::invalid_argument("normalisation '" + std::string(name) + "': unknown, want none, group or batch");
}

void mix_rewards(std::span<training_group> groups, std::span<const reward_part> parts) {
  std::vector<spread> of_step(parts.size());
  for (const auto& group : groups) {
    check(group, parts);
    for (std::size_t k = 0; k < parts.size(); ++k)
      of_step[k].add(group.parts[k]);
  }
  for (auto& group : groups) {
    std::vector<double> sum(group.answers.size());
    for (std::size_t k = 0; k < parts.size(); ++k) {
      spread of_group;
      of_group.add(group.parts[k]);
      for (std::size_t i = 0; i < sum.size(); ++i) {
        const double x = group.parts[k][i];
        sum[i] += parts[k].weight
                  * (parts[k].how == normalisation::none    ? x
                     : parts[k].how == normalisation::group ? of_group.normalised(x)
                                                            : of_step[k].normalised(x));
      }
    }
    group.reward.assign(sum.begin(), sum.end());
  }
}

double mean_raw_reward(std::span<const training_group> groups, std::span<const reward_part> parts) {
  double sum = 0;
  std::size_t answers = 0;
  for (const auto& group : groups) {
    answers += group.answers.size();
    for (std::size_t k = 0; k < parts.size(); ++k)
      for (const float x : group.parts.at(k))
        sum += parts[k].weight * x;
  }
  return answers ? sum / static_cast<double>(answers) : 0;
}

} // namespace millrace::train
