#include "runtime/train/batch_file.hpp"

#include "runtime/formats/strict_json.hpp"
#include "runtime/words/input_error.hpp"

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>

namespace millrace::train {
namespace {

using json = nlohmann::json;

constexpr std::array token_columns{"logprob", "behaviour_logprob", "proximal_logprob", "ref_logprob",
                                   "value",   "old_value",         "entropy",          "version"};

[[noreturn]] void refuse(const std::string& where, const std::string& what) {
  throw input_error(where + ": " + what);
}

std::string shown(const json& value) {
  return value.dump(-1, ' ', true, json::error_handler_t::replace).substr(0, 40);
}

double number(const json& value, const std::string& where) {
  if (!value.is_number() || !std::isfinite(value.get<double>()))
    refuse(where, "found " + shown(value) + ", want a finite number");
  return value.get<double>();
}

const json& list(const json& table, const char* key, const std::string& where) {
  const auto found = table.find(key);
  if (found == table.end())
    refuse(where, std::string("no \"") + key + "\"");
  if (!found->is_array())
    refuse(where + '.' + key, "found " + shown(*found) + ", want a list");
  return *found;
}

void only(const json& table, const std::vector<std::string>& known, const std::string& where) {
  if (!table.is_object())
    refuse(where, "found " + shown(table) + ", want an object");
  for (const auto& item : table.items())
    if (std::find(known.begin(), known.end(), item.key()) == known.end())
      refuse(where, "unknown column " + shown(item.key()));
}

/// Columns as they are gathered, and whether the first row had each.
class gatherer {
public:
  gatherer(const json& root, std::string name) : name_(std::move(name)) {
    only(root, {"groups", "version"}, name_);
    const json& groups = list(root, "groups", name_);
    for (std::size_t g = 0; g < groups.size(); ++g)
      add_group(groups[g], g);
    if (const auto version = root.find("version"); version != root.end())
      out_.batch.policy_version = integer(*version, name_ + ": version");
    finish();
  }

  batch_file take() { return std::move(out_); }

private:
  static std::int64_t integer(const json& value, const std::string& where) {
    if (!value.is_number_integer() || value < 0)
      refuse(where, "found " + shown(value) + ", want an integer from 0");
    return value.get<std::int64_t>();
  }

  /// A column that some rows have and some have not is a mistake of the row that differs from the first.
  bool has(const json& table, const char* key, const std::string& where) {
    const bool here = table.contains(key);
    if (present_.emplace(key, here).first->second != here)
      refuse(where + '.' + key, here ? "found a column that earlier rows lack" : "missing, and earlier rows have it");
    return here;
  }

  void add_group(const json& group, std::size_t g) {
    const std::string where = name_ + ": groups[" + std::to_string(g) + "]";
    only(group, {"rewards", "answers", "baseline", "domain"}, where);
    const json& rewards = list(group, "rewards", where);
    const json& answers = list(group, "answers", where);
    if (rewards.size() != answers.size())
      refuse(where + ".rewards", std::to_string(rewards.size()) + " numbers, want " + std::to_string(answers.size())
                                     + ", one for each answer");
    const bool baseline = has(group, "baseline", where), domain = has(group, "domain", where);
    out_.mask.emplace_back();
    for (std::size_t i = 0; i < answers.size(); ++i) {
      reward_.push_back(number(rewards[i], where + ".rewards[" + std::to_string(i) + "]"));
      group_.push_back(static_cast<std::int64_t>(g));
      if (baseline)
        baseline_.push_back(number(group["baseline"], where + ".baseline"));
      if (domain)
        domain_.push_back(integer(group["domain"], where + ".domain"));
      add_answer(answers[i], where + ".answers[" + std::to_string(i) + "]");
    }
  }

  void add_answer(const json& answer, const std::string& where) {
    only(answer,
         {"logprob", "behaviour_logprob", "proximal_logprob", "ref_logprob", "value", "old_value", "entropy", "version",
          "mask", "score"},
         where);
    const json& logprob = list(answer, "logprob", where);
    std::vector<bool> mask(logprob.size(), true);
    if (has(answer, "mask", where)) {
      const json& written = list(answer, "mask", where);
      same_length(written, logprob, where + ".mask");
      for (std::size_t t = 0; t < written.size(); ++t) {
        const double x =
            written[t].is_boolean() ? static_cast<double>(written[t].get<bool>()) : number(written[t], where + ".mask");
        if (x != 0 && x != 1)
          refuse(where + ".mask[" + std::to_string(t) + "]", "found " + shown(written[t]) + ", want 0 or 1");
        mask[t] = x == 1;
      }
    }
    for (const char* key : token_columns) {
      if (!has(answer, key, where))
        continue;
      const json& column = list(answer, key, where);
      same_length(column, logprob, where + '.' + key);
      for (std::size_t t = 0; t < column.size(); ++t)
        if (mask[t])
          tokens_[key].push_back(number(column[t], where + '.' + key + '[' + std::to_string(t) + ']'));
    }
    if (has(answer, "score", where))
      score_.push_back(number(answer["score"], where + ".score"));
    length_.push_back(std::count(mask.begin(), mask.end(), true));
    out_.mask.back().push_back(std::move(mask));
  }

  static void same_length(const json& column, const json& logprob, const std::string& where) {
    if (column.size() != logprob.size())
      refuse(where, std::to_string(column.size()) + " numbers, want " + std::to_string(logprob.size())
                        + ", one for each logprob");
  }

  at::Tensor column(const char* key) {
    const auto found = present_.find(key);
    return found != present_.end() && found->second ? at::tensor(tokens_[key], at::kDouble) : at::Tensor();
  }

  void finish() {
    auto& b = out_.batch;
    b.step.reward = at::tensor(reward_, at::kDouble);
    b.step.group = at::tensor(group_, at::kLong);
    b.step.length = at::tensor(length_, at::kLong);
    b.logprob = at::tensor(tokens_["logprob"], at::kDouble);
    const auto otherwise = [](at::Tensor x, const at::Tensor& fallback) { return x.defined() ? x : fallback; };
    b.step.old_logprob = otherwise(column("proximal_logprob"), b.logprob);
    out_.has_behaviour = column("behaviour_logprob").defined();
    b.step.behaviour_logprob = otherwise(column("behaviour_logprob"), b.step.old_logprob);
    b.step.ref_logprob = column("ref_logprob");
    b.value = column("value");
    b.step.value = otherwise(column("old_value"), b.value);
    b.entropy = column("entropy");
    if (const at::Tensor version = column("version"); version.defined()) {
      b.version = version.to(at::kLong);
      out_.has_version = true;
    }
    if (!baseline_.empty())
      b.step.baseline = at::tensor(baseline_, at::kDouble);
    if (!domain_.empty())
      b.step.domain = at::tensor(domain_, at::kLong);
    if (!score_.empty())
      b.score = at::tensor(score_, at::kDouble);
  }

  std::string name_;
  batch_file out_;
  std::map<std::string, bool> present_;
  std::map<std::string, std::vector<double>> tokens_;
  std::vector<double> reward_, baseline_, score_;
  std::vector<std::int64_t> group_, length_, domain_;
};

/// @param x [N], or undefined
json nested(const at::Tensor& x, const batch_file& file) {
  if (!x.defined())
    return nullptr;
  const at::Tensor values = x.detach().to(at::kCPU, at::kDouble).contiguous();
  const double* next = values.const_data_ptr<double>();
  json groups = json::array();
  for (const auto& group : file.mask) {
    json answers = json::array();
    for (const auto& mask : group) {
      json tokens = json::array();
      for (const bool kept : mask)
        tokens.push_back(kept ? *next++ : 0.0);
      answers.push_back(std::move(tokens));
    }
    groups.push_back(std::move(answers));
  }
  return groups;
}

/// @param x [A]
json by_answer(const at::Tensor& x, const batch_file& file) {
  json groups = json::array();
  std::int64_t next = 0;
  for (const auto& group : file.mask) {
    json answers = json::array();
    for (std::size_t i = 0; i < group.size(); ++i)
      answers.push_back(x[next++].item<double>());
    groups.push_back(std::move(answers));
  }
  return groups;
}

/// NaN, Infinity and -Infinity, which Python writes and JSON does not know, in quotes: then their column and row are
/// named.
std::string with_quoted_infinities(std::string_view text) {
  std::string out;
  bool inside = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '"' && (i == 0 || text[i - 1] != '\\'))
      inside = !inside;
    std::string_view word;
    if (!inside)
      for (const std::string_view w : {"NaN", "-Infinity", "Infinity"})
        if (word.empty() && text.substr(i, w.size()) == w)
          word = w;
    if (word.empty())
      out += text[i];
    else
      out += '"' + std::string(word) + '"';
    i += word.empty() ? 0 : word.size() - 1;
  }
  return out;
}

} // namespace

batch_file parse_batch(std::string_view text, const std::string& name) {
  return gatherer(formats::parse_json(with_quoted_infinities(text), name), name).take();
}

batch_file read_batch(const std::filesystem::path& path) {
  return parse_batch(formats::read_text(path), path.string());
}

std::string evaluation_json(const batch_file& file, const algorithms::evaluation& found) {
  nlohmann::ordered_json out;
  out["loss"] = found.loss;
  out["advantages"] = nested(found.advantages, file);
  out["gradient"] = nested(found.gradient, file);
  out["weights"] = nested(found.weights, file);
  if (found.returns.defined()) {
    out["returns"] = nested(found.returns, file);
    out["value_loss"] = found.value_loss;
    out["value_gradient"] = nested(found.value_gradient, file);
  }
  if (found.score_gradient.defined())
    out["score_gradient"] = by_answer(found.score_gradient, file);
  const auto& seen = found.seen;
  out["diagnostics"] = {{"tokens", seen.tokens},
                        {"clip_fraction", seen.clip_fraction()},
                        {"truncated_fraction", seen.truncated_fraction()},
                        {"masked_fraction", seen.masked_fraction()},
                        {"kl_behaviour_k1", seen.kl_k1()},
                        {"kl_behaviour_k3", seen.kl_k3()},
                        {"kl_proximal_k3", seen.proximal_kl()},
                        {"kl_reference", seen.mean_reference_kl()},
                        {"weight_mean", seen.mean_weight()},
                        {"weight_largest", seen.largest_weight},
                        {"effective_sample_fraction", seen.effective_sample_fraction()},
                        {"entropy", seen.mean_entropy()}};
  return out.dump();
}

} // namespace millrace::train
