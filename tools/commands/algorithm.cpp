#include "algorithms/evaluate.hpp"
#include "runtime/train/batch_file.hpp"
#include "runtime/words/input_error.hpp"
#include "tools/command.hpp"
#include "tools/commands/algorithm_page.hpp"

#include <ATen/core/Tensor.h>

#include <charconv>
#include <cstdio>
#include <map>
#include <memory>
#include <stdexcept>

namespace millrace::tools {
namespace {

std::string padded(std::string_view text, std::size_t width) {
  std::string out(text);
  out.resize(std::max(width, out.size() + 1), ' ');
  return out;
}

int list_algorithms() {
  std::string out = "algorithms\n";
  for (const auto* row : algorithms::all()) {
    std::string columns;
    for (const auto column : row->columns)
      columns += (columns.empty() ? "" : ", ") + std::string(column);
    out += padded(row->name, 23) + std::string(row->summary) + '\n' + std::string(23, ' ') + std::string(row->source)
           + '\n' + std::string(23, ' ') + "needs " + (columns.empty() ? "nothing beyond the answers" : columns) + ". "
           + std::string(row->differences) + '\n';
  }
  out += "\ncorrections, composable with any of them\n";
  for (const auto* row : algorithms::all_corrections())
    out += padded(row->name, 23) + std::string(row->summary) + '\n' + std::string(23, ' ') + std::string(row->source)
           + ". " + std::string(row->differences) + '\n';
  std::fputs(out.c_str(), stdout);
  return 0;
}

std::string algorithm_names() {
  std::string names;
  for (const auto* row : algorithms::all())
    names += (names.empty() ? "" : ", ") + std::string(row->name);
  return names;
}

std::string correction_names() {
  std::string names;
  for (const auto* row : algorithms::all_corrections())
    names += (names.empty() ? "" : ", ") + std::string(row->name);
  return names;
}

input_error unknown_name(const std::string& name, const std::string& known) {
  return input_error("algorithm: found \"" + name + "\", want one of " + known);
}

int show_algorithm(const std::string& name, bool toml_only) {
  const auto* algorithm = algorithms::find(name);
  const auto* correction = algorithms::find_correction(name);
  if (!algorithm && !correction)
    throw unknown_name(name, algorithm_names() + ", " + correction_names());
  const std::string page = algorithm ? page_of(*algorithm) : page_of(*correction);
  const std::string pipeline = algorithm ? pipeline_of(*algorithm) : pipeline_of(*correction);
  if (!toml_only)
    std::fputs((page + "\na pipeline that runs:\n\n").c_str(), stdout);
  std::fputs(pipeline.c_str(), stdout);
  return 0;
}

/// The `--set`s of `eval`: options of the loss, of the last correction named, of the algorithm.
class settings {
public:
  explicit settings(std::span<const algorithms::hyperparameter> options) : options_(options) {}

  void take(const std::string& text) {
    const auto equals = text.find('=');
    if (equals == std::string::npos || equals == 0)
      throw input_error("--set " + text + ": want key=value");
    const std::string key = text.substr(0, equals), value = text.substr(equals + 1);
    try {
      if (key == "correction")
        add_correction(value);
      else if (key.starts_with("correction."))
        set_correction(key.substr(11), value);
      else if (!set_loss(key, value))
        values_[key] = number_of(options_, key, value);
    } catch (const std::invalid_argument& error) {
      throw input_error("--set " + text + ": " + error.what());
    }
  }

  algorithms::hyperparameter_values values() const {
    try {
      return algorithms::hyperparameter_values(options_, values_);
    } catch (const std::invalid_argument& error) {
      throw input_error(std::string("--set: ") + error.what());
    }
  }

  algorithms::loss_options loss() const {
    algorithms::loss_options out = loss_;
    for (const auto& [row, set] : corrections_)
      try {
        out.corrections.push_back({row, algorithms::hyperparameter_values(row->options, set)});
      } catch (const std::invalid_argument& error) {
        throw input_error("--set correction." + std::string(error.what()));
      }
    return out;
  }

  double value_clip() const { return value_clip_; }

private:
  static double number(const std::string& value) {
    double x = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), x);
    if (error != std::errc() || end != value.data() + value.size())
      throw std::invalid_argument("found \"" + value + "\", want a number");
    return x;
  }

  static double number_of(std::span<const algorithms::hyperparameter> options, const std::string& key,
                          const std::string& value) {
    for (const auto& o : options)
      if (o.name == key && !o.words.empty())
        return algorithms::number_of(o, value);
    return number(value);
  }

  void add_correction(const std::string& name) {
    const auto* row = algorithms::find_correction(name);
    if (!row)
      throw std::invalid_argument("want one of " + correction_names());
    corrections_.push_back({row, {}});
  }

  void set_correction(const std::string& key, const std::string& value) {
    if (corrections_.empty())
      throw std::invalid_argument("no correction yet, want --set correction=NAME before it");
    auto& [row, set] = corrections_.back();
    if (key != "preset") {
      set[key] = number_of(row->options, key, value);
      return;
    }
    std::string known;
    for (const auto& preset : row->presets) {
      if (preset.name == value)
        for (const auto& s : preset.settings)
          set[std::string(s.option)] = s.value;
      if (preset.name == value)
        return;
      known += (known.empty() ? "" : ", ") + std::string(preset.name);
    }
    throw std::invalid_argument("want one of " + known);
  }

  bool set_loss(const std::string& key, const std::string& value) {
    const auto not_negative = [&](double& field) {
      if (!((field = number(value)) >= 0))
        throw std::invalid_argument("want a number from 0");
      return true;
    };
    if (key == "aggregation")
      return loss_.how = algorithms::aggregation_named(value), true;
    if (key == "kl_estimator")
      return loss_.kl = algorithms::kl_estimator_named(value), true;
    if (key == "proximal")
      return loss_.against = algorithms::proximal_named(value), true;
    if (key == "fixed_length") {
      if (!((loss_.fixed_length = number(value)) > 0))
        throw std::invalid_argument("want a number above 0");
      return true;
    }
    return (key == "kl_coefficient" && not_negative(loss_.kl_coefficient))
           || (key == "kl_clamp_input" && not_negative(loss_.clamps.input))
           || (key == "kl_clamp_output" && not_negative(loss_.clamps.output))
           || (key == "entropy_coefficient" && not_negative(loss_.entropy_coefficient))
           || (key == "value_clip" && not_negative(value_clip_));
  }

  std::span<const algorithms::hyperparameter> options_;
  algorithms::loss_options loss_;
  std::map<std::string, double> values_;
  std::vector<std::pair<const algorithms::correction*, std::map<std::string, double>>> corrections_;
  double value_clip_ = 0.2;
};

/// A column that would be stood in for, where it is what the calculation is about.
void check_columns(const train::batch_file& file, const algorithms::algorithm& row,
                   const algorithms::loss_options& loss, const std::string& name) {
  const auto want = [&](bool has, const char* column, const std::string& who) {
    if (!has)
      throw input_error(name + ": groups[0].answers[0]: no \"" + column + "\", want it in every answer: " + who
                        + " needs it");
  };
  const auto& batch = file.batch;
  for (const auto column : row.columns) {
    if (column == "value")
      want(batch.step.value.defined(), "value", std::string(row.name));
    if (column == "ref_logprob")
      want(batch.step.ref_logprob.defined(), "ref_logprob", std::string(row.name));
    if (column == "baseline" && !batch.step.baseline.defined())
      throw input_error(name + ": groups[0]: no \"baseline\", want it in every group: " + std::string(row.name)
                        + " needs it");
  }
  if (row.on == algorithms::head::score)
    want(batch.score.defined(), "score", std::string(row.name));
  for (const auto& chosen : loss.corrections)
    want(file.has_behaviour, "behaviour_logprob", std::string(chosen.row->name));
  if (loss.against != algorithms::proximal::recomputed)
    want(file.has_behaviour, "behaviour_logprob", "proximal");
  if (loss.against == algorithms::proximal::log_linear)
    want(file.has_version, "version", "proximal = log_linear");
  if (loss.kl_coefficient > 0)
    want(batch.step.ref_logprob.defined(), "ref_logprob", "kl_coefficient");
  if (loss.entropy_coefficient > 0)
    want(batch.entropy.defined(), "entropy", "entropy_coefficient");
}

int evaluate_batch(const std::string& name, const std::string& path, const std::vector<std::string>& sets) {
  const auto* row = algorithms::find(name);
  if (!row)
    throw unknown_name(name, algorithm_names());
  settings given(row->options);
  for (const auto& set : sets)
    given.take(set);
  const auto values = given.values();
  const auto loss = given.loss();
  const auto file = train::read_batch(path);
  check_columns(file, *row, loss, path);
  algorithms::evaluation found;
  try {
    found = algorithms::evaluate(*row, values, loss, file.batch, given.value_clip());
  } catch (const c10::Error& error) {
    throw input_error(path + ": " + error.what_without_backtrace());
  }
  if (!std::isfinite(found.loss) || !found.gradient.isfinite().all().item<bool>())
    throw input_error(
        path + ": the loss or its gradient is not finite: log-probabilities or rewards beyond what float64 holds");
  std::puts(train::evaluation_json(file, found).c_str());
  return 0;
}

} // namespace

constexpr const char* batch_format =
    "BATCH: {\"groups\": [{\"rewards\": [..], \"answers\": [{\"logprob\": [..], \"behaviour_logprob\": [..], "
    "\"proximal_logprob\": [..],\n"
    "\"ref_logprob\": [..], \"value\": [..], \"old_value\": [..], \"entropy\": [..], \"mask\": [..], "
    "\"version\": [..], \"score\": x}],\n"
    "\"baseline\": x, \"domain\": n}], \"version\": n}. Only rewards, answers and logprob are always needed. A column "
    "stands in every answer or in none. "
    "Without proximal_logprob the\n"
    "current policy is the old one (ratio 1); without behaviour_logprob the old one sampled. No correction "
    "applies unless it is set.";

command algorithm_command() {
  struct algorithm_arguments {
    std::string name, batch;
    std::vector<std::string> overrides;
    bool toml = false;
  };

  const auto given = std::make_shared<algorithm_arguments>();
  const command show{
      .name = "show",
      .help = "Formula, options with defaults and ranges, differences, a pipeline that runs",
      .arguments = {{.name = "NAME", .to = &given->name, .help = "An algorithm or a correction", .required = true},
                    {.name = "--toml", .to = &given->toml, .help = "Prints the pipeline only"}},
      .run = [given] { return show_algorithm(given->name, given->toml); }};
  const command eval{
      .name = "eval",
      .help = "Advantages, loss, gradients and diagnostics of a batch, in float64; JSON on stdout",
      .footer = batch_format,
      .arguments =
          {{.name = "NAME", .to = &given->name, .help = "An algorithm", .required = true},
           {.name = "BATCH", .to = &given->batch, .help = "JSON", .required = true},
           {.name = "--set",
            .to = &given->overrides,
            .help = "key=value: the algorithm's options; aggregation, fixed_length, kl_coefficient, kl_estimator, "
                    "kl_clamp_input, kl_clamp_output, entropy_coefficient, proximal, value_clip; correction=NAME, then "
                    "correction.KEY=value or correction.preset=NAME for it",
            .one_at_a_time = true}},
      .run = [given] { return evaluate_batch(given->name, given->batch, given->overrides); }};
  return {.name = "algorithm",
          .help = "The losses: lists them, explains one, evaluates one on given numbers",
          .commands = {{.name = "list",
                        .help = "Every algorithm and correction: paper, columns, differences",
                        .run = list_algorithms},
                       show,
                       eval}};
}

} // namespace millrace::tools
