#include "runtime/train/step_record.hpp"

#include "runtime/formats/strict_json.hpp"
#include "runtime/words/input_error.hpp"

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

  template <class T>
  void add(const std::vector<T>& values) {
    const std::uint64_t count = values.size();
    XXH3_64bits_update(state_.get(), &count, sizeof count);
    XXH3_64bits_update(state_.get(), values.data(), count * sizeof(T));
  }

  template <class T>
  void add(const std::vector<std::vector<T>>& rows) {
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
  out.answers = group.sampled;
  out.kept = group.kept;
  out.origins = group.origins;
  out.played = group.played;
  if (!group.played.empty())
    out.prompt = group.prompt;
  checksum sum;
  sum.add(group.prompt);
  sum.add(group.answers);
  sum.add(group.mask);
  if (!group.segments.empty())
    sum.add(group.segments);
  sum.add(group.behaviour_logprob);
  sum.add(group.version);
  sum.add(group.reward);
  sum.add(group.ref_logprob);
  sum.add(group.value);
  sum.add(group.baseline);
  for (const auto& turns : group.turns)
    for (const auto& turn : turns) {
      sum.add(std::vector{turn.tokens});
      sum.add(std::vector{turn.reward});
    }
  out.checksum = sum.value();
  return out;
}

std::vector<version_run> runs_of(std::span<const std::uint32_t> version, std::span<const std::uint8_t> recomputed) {
  std::vector<version_run> runs;
  for (std::size_t token = 0; token < version.size(); ++token) {
    const bool anew = !recomputed.empty() && recomputed[token] != 0;
    if (runs.empty() || runs.back().version != version[token] || anew)
      runs.push_back({version[token], 0, anew});
    ++runs.back().tokens;
  }
  return runs;
}

std::string to_json(const step_record& step) {
  nlohmann::ordered_json object{{"step", step.step},
                                {"part", step.part},
                                {"ends_step", step.ends_step},
                                {"version", step.version},
                                {"threads", step.threads}};
  if (step.mask != age_mask::none) {
    object["mask"] = mask_words[static_cast<std::size_t>(step.mask)];
    object["train_from"] = step.train_from;
  }
  if (step.session > 1)
    object["session"] = step.session;
  if (step.followed)
    object["followed"] = true;
  if (!step.cuts.empty())
    object["cuts"] = step.cuts;
  if (step.critic_cut > 0)
    object["critic_cut"] = step.critic_cut;
  auto& groups = object["groups"] = nlohmann::ordered_json::array();
  for (const auto& group : step.groups) {
    auto answers = nlohmann::ordered_json::array(), recomputed = nlohmann::ordered_json::array();
    bool any = false;
    for (const auto& runs : group.answers) {
      auto row = nlohmann::ordered_json::array(), anew = nlohmann::ordered_json::array();
      for (std::size_t i = 0; i < runs.size(); ++i) {
        row.push_back(runs[i].version);
        row.push_back(runs[i].tokens);
        if (runs[i].recomputed)
          anew.push_back(i);
      }
      any = any || !anew.empty();
      answers.push_back(std::move(row));
      recomputed.push_back(std::move(anew));
    }
    auto& one = groups.emplace_back(nlohmann::ordered_json{{"group", group.group}, {"answers", std::move(answers)}});
    if (any)
      one["recomputed"] = std::move(recomputed);
    if (!group.kept.empty())
      one["kept"] = group.kept;
    if (!group.by.empty())
      one["by"] = group.by;
    if (!group.drawn.empty())
      one["drawn"] = group.drawn;
    if (!group.played.empty())
      one["prompt"] = group.prompt;
    for (const auto& answer : group.played) {
      auto& played = one["played"].emplace_back(
          nlohmann::ordered_json{{"said", answer.said}, {"rewards", answer.rewards}, {"finish", answer.finish}});
      if (!answer.segments.empty())
        played["segments"] = answer.segments;
    }
    for (const auto& [column, origin] : group.origins)
      one["origins"][column] = {origin.version, origin.threads};
    one["checksum"] = in_hex(group.checksum);
  }
  return object.dump();
}

step_record step_record_from(std::string_view json) {
  const auto object = formats::parse_json(json, "record of a step");
  try {
    step_record out;
    out.step = object.at("step");
    out.version = object.at("version");
    out.threads = object.at("threads");
    out.part = object.at("part");
    out.ends_step = object.at("ends_step");
    if (object.contains("mask")) {
      const auto word = std::find(mask_words.begin(), mask_words.end(), object.at("mask").get<std::string>());
      if (word == mask_words.end())
        throw input_error("record of a step: unknown mask");
      out.mask = static_cast<age_mask>(word - mask_words.begin());
      out.train_from = object.at("train_from");
    }
    out.session = object.value("session", 1);
    out.followed = object.value("followed", false);
    out.cuts = object.value("cuts", std::vector<std::int64_t>());
    out.critic_cut = object.value("critic_cut", std::int64_t{0});
    for (const auto& g : object.at("groups")) {
      auto& group = out.groups.emplace_back();
      group.group = g.at("group");
      group.checksum = std::stoull(g.at("checksum").get<std::string>(), nullptr, 16);
      for (const auto& row : g.at("answers")) {
        auto& runs = group.answers.emplace_back();
        for (std::size_t i = 0; i + 1 < row.size(); i += 2)
          runs.push_back({row[i], row[i + 1]});
      }
      if (const auto kept = g.find("kept"); kept != g.end())
        group.kept = kept->get<std::vector<std::uint32_t>>();
      if (const auto anew = g.find("recomputed"); anew != g.end())
        for (std::size_t answer = 0; answer < anew->size(); ++answer)
          for (const std::size_t run : anew->at(answer))
            group.answers.at(answer).at(run).recomputed = true;
      group.by = g.value("by", "");
      if (const auto drawn = g.find("drawn"); drawn != g.end())
        group.drawn = {drawn->at(0), drawn->at(1)};
      group.prompt = g.value("prompt", std::vector<std::int32_t>());
      if (const auto played = g.find("played"); played != g.end())
        for (const auto& answer : *played)
          group.played.push_back({.said = answer.at("said").get<std::vector<std::vector<std::int32_t>>>(),
                                  .rewards = answer.at("rewards").get<std::vector<float>>(),
                                  .segments = answer.value("segments", std::vector<std::int32_t>()),
                                  .finish = answer.at("finish")});
      if (const auto origins = g.find("origins"); origins != g.end())
        for (const auto& [column, origin] : origins->items())
          group.origins[column] = {origin.at(0), origin.at(1)};
    }
    return out;
  } catch (const nlohmann::json::exception& error) {
    throw input_error(std::string("record of a step: ") + error.what());
  } catch (const std::logic_error& error) { // a run that is none of the answer's; a checksum that is no number
    throw input_error(std::string("record of a step: ") + error.what());
  }
}

} // namespace millrace::train
