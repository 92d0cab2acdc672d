#include "runtime/train/lineage.hpp"

#include <nlohmann/json.hpp>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>
#include <stdexcept>

namespace millrace::train {
namespace {

constexpr std::array<std::string_view, 3> mask_words{"none", "tokens", "answers"};

class checksum {
public:
  checksum() : state_(XXH3_createState(), XXH3_freeState) { XXH3_64bits_reset(state_.get()); }
  template <class T> void add(const std::vector<T>& values) {
    const std::uint64_t count = values.size();
    XXH3_64bits_update(state_.get(), &count, sizeof count);
    XXH3_64bits_update(state_.get(), values.data(), count * sizeof(T));
  }
  template <class T> void add(const std::vector<std::vector<T>>& rows) {
    for (const auto& row : rows)
      add(row);
  }
  std::uint64_t value() const { return XXH3_64bits_digest(state_.get()); }

private:
  std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state_;
};

std::string in_hex(std::uint64_t number) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(number));
  return text;
}

} // namespace

lineage lineage_of(const training_group& group) {
  lineage out;
  out.group = group.id;
  for (const auto& versions : group.version) {
    auto& runs = out.answers.emplace_back();
    for (const std::uint32_t version : versions) {
      if (runs.empty() || runs.back().version != version)
        runs.push_back({version, 0});
      ++runs.back().tokens;
    }
  }
  checksum sum;
  sum.add(group.prompt);
  sum.add(group.answers);
  sum.add(group.mask);
  sum.add(group.behaviour_logprob);
  sum.add(group.version);
  sum.add(group.reward);
  sum.add(group.ref_logprob);
  sum.add(group.value);
  sum.add(group.baseline);
  out.checksum = sum.value();
  return out;
}

std::string to_json(const step_lineage& step) {
  nlohmann::ordered_json object{{"step", step.step}, {"part", step.part}, {"ends_step", step.ends_step}, {"version", step.version}, {"threads", step.threads}};
  if (step.mask != age_mask::none) {
    object["mask"] = mask_words[static_cast<std::size_t>(step.mask)];
    object["train_from"] = step.train_from;
  }
  auto& groups = object["groups"] = nlohmann::ordered_json::array();
  for (const auto& group : step.groups) {
    auto answers = nlohmann::ordered_json::array();
    for (const auto& runs : group.answers) {
      auto row = nlohmann::ordered_json::array();
      for (const auto& run : runs) {
        row.push_back(run.version);
        row.push_back(run.tokens);
      }
      answers.push_back(std::move(row));
    }
    groups.push_back({{"group", group.group}, {"answers", std::move(answers)}, {"checksum", in_hex(group.checksum)}});
  }
  return object.dump();
}

step_lineage step_lineage_from(std::string_view json) {
  try {
    const auto object = nlohmann::json::parse(json);
    step_lineage out{object.at("step"), object.at("version"), object.at("threads"), {}, object.at("part"), object.at("ends_step")};
    if (object.contains("mask")) {
      const auto word = std::find(mask_words.begin(), mask_words.end(), object.at("mask").get<std::string>());
      if (word == mask_words.end())
        throw std::invalid_argument("lineage of a step: unknown mask");
      out.mask = static_cast<age_mask>(word - mask_words.begin());
      out.train_from = object.at("train_from");
    }
    for (const auto& g : object.at("groups")) {
      auto& group = out.groups.emplace_back();
      group.group = g.at("group");
      group.checksum = std::stoull(g.at("checksum").get<std::string>(), nullptr, 16);
      for (const auto& row : g.at("answers")) {
        auto& runs = group.answers.emplace_back();
        for (std::size_t i = 0; i + 1 < row.size(); i += 2)
          runs.push_back({row[i], row[i + 1]});
      }
    }
    return out;
  } catch (const nlohmann::json::exception& error) {
    throw std::invalid_argument(std::string("lineage of a step: ") + error.what());
  }
}

} // namespace millrace::train
