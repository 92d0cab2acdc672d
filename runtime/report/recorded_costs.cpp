#include "runtime/report/recorded_costs.hpp"

#include "runtime/report/least_squares.hpp"
#include "runtime/telemetry/printed.hpp"
#include "runtime/words/input_error.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <ranges>
#include <string_view>

namespace millrace::report {
namespace {

struct moment {
  double begin_s = 0;
  double end_s = 0;

  double seconds() const { return end_s - begin_s; }
};

struct decoding {
  moment at;
  double tokens = 0;
  double steps = 0;
  double prefill_s = 0;
};

/// What the spans say, by kind.
struct recorded_work {
  std::vector<decoding> decode;
  std::map<std::int64_t, moment> train;    ///< by step: from the first learner's beginning to the last one's end
  std::map<std::int64_t, moment> publish;  ///< by version
  std::map<std::int64_t, double> laid_out; ///< by version: when the last worker had it
  std::vector<double> saved;               ///< seconds of a checkpoint
};

double figure_of(const telemetry::span& span, std::string_view name) {
  const auto found =
      std::find_if(span.args.begin(), span.args.end(), [&](const auto& one) { return one.first == name; });
  return found == span.args.end() ? 0 : found->second;
}

/// The number behind `words` in a span's name; nothing if it begins otherwise.
std::optional<std::int64_t> number_after(const std::string& name, std::string_view words) {
  if (!name.starts_with(words))
    return std::nullopt;
  return std::atoll(name.c_str() + words.size());
}

recorded_work work_of(const recorded_run& run) {
  recorded_work work;
  for (const auto& span : run.spans) {
    const moment at{span.start_s, span.start_s + span.duration_s};
    if (span.name == "decode") {
      work.decode.push_back({at, figure_of(span, "tokens"), figure_of(span, "steps"), figure_of(span, "prefill_s")});
    } else if (const auto step = number_after(span.name, "train step ")) {
      auto& whole = work.train.try_emplace(*step, at).first->second;
      whole.begin_s = std::min(whole.begin_s, at.begin_s);
      whole.end_s = std::max(whole.end_s, at.end_s);
    } else if (const auto version = number_after(span.name, "publish version ")) {
      work.publish.insert_or_assign(*version, at);
    } else if (const auto laid_out = number_after(span.name, "layout of version ")) {
      work.laid_out[*laid_out] = std::max(work.laid_out[*laid_out], at.end_s);
    } else if (span.name == "checkpoint" && span.track != "coordinator") {
      work.saved.push_back(span.duration_s);
    }
  }
  return work;
}

/// Moments in order, those that touch as one.
std::vector<moment> joined(std::vector<moment> all) {
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.begin_s < b.begin_s; });
  std::vector<moment> out;
  for (const auto& one : all)
    if (!out.empty() && one.begin_s <= out.back().end_s)
      out.back().end_s = std::max(out.back().end_s, one.end_s);
    else
      out.push_back(one);
  return out;
}

/// The share of `one` that lies within `others`.
double share_beside(const moment& one, const std::vector<moment>& others) {
  double sum = 0;
  for (const auto& other : others)
    sum += std::max(0.0, std::min(one.end_s, other.end_s) - std::max(one.begin_s, other.begin_s));
  return one.seconds() > 0 ? sum / one.seconds() : 0;
}

template <class Values>
double mean_of(const Values& values) {
  double sum = 0;
  for (const auto value : values)
    sum += value;
  return values.empty() ? 0 : sum / static_cast<double>(values.size());
}

/// Work whose seconds are regressors times coefficients, times `factor(share, contention)`.
struct slowed_fit {
  std::vector<double> coefficients;
  double contention = 1;
};

/// Tries contentions from 1 to 4. Only where the shares differ do they tell one.
template <class Factor>
slowed_fit fit_slowed(const std::vector<std::vector<double>>& rows, const std::vector<double>& seconds,
                      const std::vector<double>& shares, const char* what, const char* other,
                      std::vector<std::string>& notes, Factor factor) {
  double mean = 0, spread = 0;
  for (const auto share : shares)
    mean += share / static_cast<double>(shares.size());
  for (const auto share : shares)
    spread += (share - mean) * (share - mean) / static_cast<double>(shares.size());
  const bool tells = shares.size() >= 4 && std::sqrt(spread) > 0.08;
  if (!tells)
    notes.push_back(std::string(what) + " ran almost " + (mean > 0.5 ? "always" : "never") + " beside " + other
                    + ": how much that slows it down is not told");
  slowed_fit best;
  double squares = -1;
  for (int percent = 100; percent <= (tells ? 400 : 100); percent += 2) {
    const double contention = percent / 100.0;
    auto scaled = rows;
    for (std::size_t i = 0; i < rows.size(); ++i)
      for (auto& one : scaled[i])
        one *= factor(shares[i], contention);
    const auto found = non_negative_fit(scaled, seconds);
    if (squares < 0 || found.squares < squares * (1 - 1e-6)) {
      squares = found.squares;
      best = {found.coefficients, contention};
    }
  }
  return best;
}

/// What a decode step's seconds are made of with `n` slots occupied: a part for every step, one for every slot, one for
/// the second slot (a row alone takes another kernel).
std::vector<double> parts_of_step(double n) {
  return {1, n, std::min(n, 2.0)};
}

void notes_of_slots(double most, recorded_costs& found) {
  found.notes.push_back(
      telemetry::printed("no more than %.0f answers were decoded at once: steps with up to %u are extrapolated",
                         std::ceil(most), found.costs.slots));
}

void read_decoding(const recorded_work& work, recorded_costs& found) {
  std::vector<moment> training;
  for (const auto& [step, at] : work.train)
    training.push_back(at);
  training = joined(std::move(training));
  std::vector<std::vector<double>> rows;
  std::vector<double> seconds, shares;
  for (const auto& one : work.decode) {
    const auto took = one.at.seconds() - one.prefill_s;
    if (one.steps <= 0 || one.tokens <= 0 || took <= 0)
      continue;
    rows.push_back(parts_of_step(one.tokens / one.steps));
    for (auto& part : rows.back())
      part *= one.steps;
    seconds.push_back(took);
    shares.push_back(share_beside(one.at, training));
  }
  if (rows.empty())
    throw input_error("the trace holds no decoding, want a run that generated");
  const auto fitted = fit_slowed(rows, seconds, shares, "generation", "training", found.notes,
                                 [](double share, double contention) { return 1 + (contention - 1) * share; });
  double most = 0;
  for (const auto& one : work.decode)
    most = std::max(most, one.steps > 0 ? one.tokens / one.steps : 0);
  if (most < 0.6 * found.costs.slots)
    notes_of_slots(most, found);
  found.costs.decode.clear();
  for (const double n : {1.0, 2.0, std::max(3.0, static_cast<double>(found.costs.slots))}) {
    double step_s = 0;
    const auto parts = parts_of_step(n);
    for (std::size_t i = 0; i < parts.size(); ++i)
      step_s += fitted.coefficients[i] * parts[i];
    found.costs.decode.push_back({n, std::max(1e-7, step_s)});
  }
  found.costs.contention = fitted.contention;
}

struct step_tokens {
  double tokens = 0;
  double squares = 0;
};

/// What each step trained. Squared lengths are those of the answers that were told, scaled up to all of them.
std::map<std::int64_t, step_tokens> tokens_by_step(const recorded_run& run) {
  std::map<std::int64_t, step_tokens> told, steps;
  for (const auto& answer : run.answers) {
    auto& one = told[answer.step];
    one.tokens += static_cast<double>(answer.tokens);
    one.squares += static_cast<double>(answer.tokens) * static_cast<double>(answer.tokens);
  }
  double before = 0;
  for (const auto& row : run.metrics) {
    const auto total = row.get(telemetry::metric::tokens);
    if (!total)
      continue;
    auto& one = steps[row.step];
    one.tokens = *total - before;
    if (const auto some = told.find(row.step); some != told.end() && some->second.tokens > 0)
      one.squares = some->second.squares * one.tokens / some->second.tokens;
    before = *total;
  }
  return steps;
}

/// A figure of steps for each token that they trained. 0: the run does not say it.
double for_each_token(const recorded_run& run, const std::map<std::int64_t, step_tokens>& steps,
                      std::string_view figure) {
  double sum = 0, tokens = 0;
  for (const auto& row : run.metrics)
    if (const auto value = row.get(figure))
      if (const auto step = steps.find(row.step); step != steps.end()) {
        sum += *value;
        tokens += step->second.tokens;
      }
  return tokens > 0 ? sum / tokens : 0;
}

/// What training groups on ranks goes by.
void read_groups(const recorded_run& run, recorded_costs& found) {
  double tokens = 0;
  for (const auto& group : found.costs.lengths)
    for (const auto length : group)
      tokens += length;
  const auto steps = tokens_by_step(run);
  found.costs.prompt_tokens = for_each_token(run, steps, telemetry::metric::prompt_tokens) * tokens
                              / static_cast<double>(found.costs.lengths.size());
  found.costs.flat_share = std::min(0.99, for_each_token(run, steps, telemetry::metric::flat_tokens));
}

/// Seconds of each step that its passes do not take; of those steps that tell it.
std::map<std::int64_t, double> beside_micro_batches(const recorded_run& run) {
  std::map<std::int64_t, double> fixed;
  for (const auto& row : run.metrics) {
    const auto all = row.get(telemetry::metric::timing("train")),
               forward = row.get(telemetry::metric::timing("forward")),
               backward = row.get(telemetry::metric::timing("backward"));
    if (all && forward && backward)
      fixed[row.step] = std::max(0.0, *all - *forward - *backward);
  }
  return fixed;
}

void read_training(const recorded_run& run, const recorded_work& work, recorded_costs& found) {
  std::vector<moment> generation;
  for (const auto& one : work.decode)
    generation.push_back(one.at);
  generation = joined(std::move(generation));
  const auto steps = tokens_by_step(run);
  const auto fixed = found.costs.ranks > 1 ? beside_micro_batches(run) : std::map<std::int64_t, double>{};
  std::vector<std::vector<double>> rows;
  std::vector<double> seconds, shares;
  for (const auto& [step, at] : work.train) {
    const auto tokens = steps.find(step);
    if (step == work.train.begin()->first || tokens == steps.end())
      continue; // the first step warms caches up
    const auto told = fixed.find(step);
    rows.push_back({told == fixed.end() ? 1.0 : 0.0, tokens->second.tokens, tokens->second.squares});
    seconds.push_back(at.seconds() - (told == fixed.end() ? 0 : told->second));
    shares.push_back(share_beside(at, generation));
  }
  if (rows.empty())
    throw input_error("the trace holds fewer than two steps, want at least two");
  const auto factor = [](double share, double contention) { return 1 / (1 - share + share / contention); };
  const auto fitted = fit_slowed(rows, seconds, shares, "training", "generation", found.notes, factor);
  found.costs.train_s = fixed.empty() ? fitted.coefficients[0] : mean_of(std::views::values(fixed));
  found.costs.train_token_s = fitted.coefficients[1];
  found.costs.train_square_s = fitted.coefficients[2];
  found.costs.train_contention = fitted.contention;
  const auto& [first, at] = *work.train.begin();
  if (const auto tokens = steps.find(first); tokens != steps.end()) {
    const auto warm = found.costs.train_s + fitted.coefficients[1] * tokens->second.tokens
                      + fitted.coefficients[2] * tokens->second.squares;
    found.costs.first_train_s =
        std::max(0.0, at.seconds() - warm * factor(share_beside(at, generation), fitted.contention));
  }
}

void read_publication(const recorded_work& work, recorded_costs& found) {
  std::vector<moment> training, generation;
  for (const auto& [step, at] : work.train)
    training.push_back(at);
  for (const auto& one : work.decode)
    generation.push_back(one.at);
  training = joined(std::move(training));
  generation = joined(std::move(generation));
  std::vector<double> copies, layouts, beside;
  for (const auto& [version, at] : work.publish) {
    if (version == 0)
      continue; // the first weights of a run are not a publication like the others
    // Version v is that of step v: what lies between its end and the copy is the coordinator's turn.
    if (const auto step = work.train.find(version); step != work.train.end() && at.end_s >= step->second.end_s)
      copies.push_back(at.end_s - step->second.end_s);
    if (const auto laid_out = work.laid_out.find(version);
        laid_out != work.laid_out.end() && laid_out->second >= at.end_s) {
      const moment layout{at.end_s, laid_out->second};
      const auto trains = share_beside(layout, training);
      beside.push_back(trains);
      // What the crowd of all three made of it is known: it is none of what is looked for here.
      layouts.push_back(layout.seconds()
                        / (1 + (found.costs.layout_contention - 1) * trains * share_beside(layout, generation)));
    }
  }
  found.costs.copy_s = mean_of(copies);
  const std::vector<std::vector<double>> whole(layouts.size(), {1});
  const auto fitted = fit_slowed(whole, layouts, beside, "layout", "training", found.notes,
                                 [](double share, double contention) { return 1 + (contention - 1) * share; });
  found.costs.layout_s = fitted.coefficients.empty() ? 0 : fitted.coefficients[0];
  found.costs.layout_beside = fitted.contention;
  if (copies.empty())
    found.notes.push_back("no version was published after the first: publication counts as nothing");
  found.costs.checkpoint_s = mean_of(work.saved);
}

/// Mean time between generated and fetched: the integral of how many wait over how many came.
double columns_of(const recorded_run& run) {
  double area = 0, came = 0, value = 0, since = 0;
  for (const auto& one : run.counters) {
    if (one.name != "waiting for columns")
      continue;
    area += value * (one.at_s - since);
    came += std::max(0.0, one.value - value);
    value = one.value;
    since = one.at_s;
  }
  return came > 0 ? area / came : 0;
}

void read_lengths(const recorded_run& run, recorded_costs& found) {
  std::map<std::uint64_t, std::vector<std::int32_t>> groups;
  for (const auto& answer : run.answers)
    groups[answer.group].push_back(static_cast<std::int32_t>(answer.tokens));
  if (groups.empty())
    throw input_error("the run told no answers, want one with run.trajectories_fraction above 0");
  for (auto& [group, lengths] : groups)
    found.costs.lengths.push_back(std::move(lengths));
  const auto& ledger = run.status.ledger;
  if (ledger.generated > 0
      && static_cast<double>(ledger.dropped_total()) > 0.02 * static_cast<double>(ledger.generated))
    found.notes.push_back(
        "the recorded run dropped tokens: lengths are those of what it trained, not of what it generated");
}

} // namespace

recorded_costs costs_of(const recorded_run& run, schedule::workload shape) {
  if (run.spans.empty())
    throw input_error(run.folder.string() + ": no trace, want a run with run.trace = true");
  recorded_costs found{std::move(shape), {}};
  const auto work = work_of(run);
  try {
    read_decoding(work, found);
    read_training(run, work, found);
    read_publication(work, found);
    read_lengths(run, found);
    read_groups(run, found);
  } catch (const input_error& what) {
    throw input_error(run.folder.string() + ": " + what.what());
  }
  found.costs.columns_s = columns_of(run);
  double prefill = 0, tokens = 0, lengths = 0;
  for (const auto& one : work.decode) {
    prefill += one.prefill_s;
    tokens += one.tokens;
  }
  for (const auto& row : found.costs.lengths)
    for (const auto length : row)
      lengths += length;
  // Tokens of a group are known for those that were told only: as many groups as tokens were decoded.
  const auto groups = lengths > 0 ? static_cast<double>(found.costs.lengths.size()) * tokens / lengths : 0;
  found.costs.prefill_s = groups > 0 ? prefill / groups : 0;
  return found;
}

} // namespace millrace::report
