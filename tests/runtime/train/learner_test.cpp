#include "runtime/model/decoder.hpp"
#include "runtime/model/token_logprob.hpp"
#include "runtime/train/learner.hpp"
#include "runtime/words/input_error.hpp"
#include "tests/runtime/model/random_decoder.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <random>
#include <stdexcept>

namespace learner_test {

namespace {

using namespace millrace;
using tests::copy_of;
using tests::equal_bits;
using train::learner;
using train::learner_options;
using train::step_report;
using train::training_group;

const model::model_config config = tests::tiny_config("qwen2");

model::weights start() {
  return tests::random_weights(config, 3, at::kFloat, false);
}

/// Three groups of answers of 0 to 12 tokens, stamped by version 4 with what the model itself says, moved by `noise`.
std::vector<training_group> some_groups(std::uint64_t seed, float noise = 0, bool reference = false) {
  std::mt19937_64 random(seed);
  const auto below = [&](std::uint64_t n) { return random() % n; };
  const model::decoder decoder(config, start());
  std::vector<training_group> groups(3);
  for (std::size_t g = 0; g < groups.size(); ++g) {
    auto& group = groups[g];
    group.id = 100 + g;
    for (std::uint64_t i = 0, n = 1 + below(9); i < n; ++i)
      group.prompt.push_back(static_cast<std::int32_t>(below(40)));
    for (int a = 0; a < 5; ++a) {
      auto& answer = group.answers.emplace_back();
      for (std::uint64_t i = 0, n = below(13); i < n; ++i)
        answer.push_back(static_cast<std::int32_t>(below(40)));
      group.reward.push_back(static_cast<float>(below(4)));
      group.version.emplace_back(answer.size(), 4u);
    }
    group.behaviour_logprob = model::score_answers(decoder, group.prompt, group.answers);
    if (reference)
      group.ref_logprob = group.behaviour_logprob;
    for (auto& answer : group.behaviour_logprob)
      for (auto& logprob : answer)
        logprob += noise * (static_cast<float>(below(1000)) / 500 - 1);
  }
  return groups;
}

learner_options some_options() {
  learner_options o;
  o.device = "cpu";
  o.threads = 2;
  o.optimizer.lr = 1e-3;
  o.optimizer.weight_decay = 0.01;
  return o;
}

double largest_difference(const model::weights& a, const model::weights& b) {
  double out = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    out = std::max(out, (a[i].tensor - b[i].tensor).abs().max().item<double>());
  return out;
}

/// Log-probabilities of a group's tokens, each segment on its own.
std::vector<std::vector<float>> scores_of(const model::decoder& decoder, const training_group& group) {
  const auto flat = [&](std::span<const std::int32_t> prompt, std::span<const std::vector<std::int32_t>> answers) {
    std::vector<float> all;
    for (const auto& one : model::score_answers(decoder, prompt, answers))
      all.insert(all.end(), one.begin(), one.end());
    return all;
  };
  const auto all = model::by_segment(flat, group.prompt, group.answers, group.segments);
  std::vector<std::vector<float>> out;
  auto next = all.begin();
  for (const auto& answer : group.answers) {
    out.emplace_back(next, next + std::ssize(answer));
    next += std::ssize(answer);
  }
  return out;
}

/// An optimizer whose update is lr g / 1e6 with the lr 1e3.
learner_options plain_gradient() {
  learner_options o = some_options();
  o.optimizer.clip_norm = 0;
  o.optimizer.weight_decay = 0;
  o.optimizer.beta1 = o.optimizer.beta2 = 0;
  o.optimizer.eps = 1e6;
  o.optimizer.lr = 1e3;
  return o;
}

/// At ratio one the surrogate's value is the mean advantage whatever the weights. So this is the plain loss: minus the
/// mean of advantage times log-probability over the tokens that a step has trained.
double plain_loss(std::span<const training_group> groups, const model::weights& w, const step_report& step) {
  const model::decoder d(config, w);
  double sum = 0;
  for (const auto& group : groups) {
    const auto logprob = scores_of(d, group);
    double mean = 0, squares = 0;
    for (const float r : group.reward)
      mean += r / 5;
    for (const float r : group.reward)
      squares += (r - mean) * (r - mean) / 4;
    for (std::size_t i = 0; i < 5; ++i)
      for (std::size_t t = 0; t < logprob[i].size(); ++t)
        if (group.mask.empty() || group.mask[i][t])
          sum -= (group.reward[i] - mean) / (std::sqrt(squares) + 1e-6) * logprob[i][t];
  }
  return sum / static_cast<double>(step.answer_tokens);
}

/// A folder of this test, gone with it.
struct temporary_folder {
  std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("millrace_learner_test_" + std::to_string(getpid()));

  temporary_folder() { std::filesystem::create_directories(path); }

  ~temporary_folder() { std::filesystem::remove_all(path); }
};

} // namespace

TEST_CASE("how a step is cut into micro-batches changes neither its report nor its update") {
  const auto groups = some_groups(1, 0.3f, true);
  for (const auto how : {algorithms::aggregation::token_mean, algorithms::aggregation::sequence_mean}) {
    learner_options o = some_options();
    o.loss.how = how;
    o.loss.kl_coefficient = 0.1;
    // AdamW's first step is the gradient's sign; without it, what differs is the gradient itself.
    o.optimizer.eps = 1;
    o.optimizer.lr = 1;
    learner whole(config, start(), o);
    o.micro_batch_tokens = 12;
    learner parts(config, start(), o);
    const auto a = whole.step(groups, 4), b = parts.step(groups, 4);
    CHECK(a.micro_batches == 1);
    CHECK(b.micro_batches > 5);
    CHECK(a.loss == doctest::Approx(b.loss).epsilon(1e-5));
    CHECK(a.gradient_norm == doctest::Approx(b.gradient_norm).epsilon(1e-5));
    CHECK(a.seen.tokens == b.seen.tokens);
    CHECK(a.seen.kl_k3() == doctest::Approx(b.seen.kl_k3()).epsilon(1e-4));
    CHECK(a.seen.mean_entropy() == doctest::Approx(b.seen.mean_entropy()).epsilon(1e-5));
    CHECK(largest_difference(whole.parameters(), start()) > 1e-3);
    CHECK(largest_difference(whole.parameters(), parts.parameters()) < 1e-5);
  }
}

/// Some answers of `some_groups`, cut: each begins again at its fourth token, which nobody sampled.
std::vector<training_group> cut_groups(std::uint64_t seed) {
  auto groups = some_groups(seed);
  const model::decoder decoder(config, start());
  for (auto& group : groups) {
    for (const auto& answer : group.answers) {
      const bool cut = answer.size() > 5;
      group.segments.push_back(cut ? std::vector<std::int32_t>{3} : std::vector<std::int32_t>());
      group.mask.emplace_back(answer.size(), std::uint8_t{1});
      for (std::size_t t = 3; cut && t < 5; ++t)
        group.mask.back()[t] = 0;
    }
    group.behaviour_logprob = scores_of(decoder, group);
  }
  return groups;
}

TEST_CASE("an answer of several segments is trained as each was sampled") {
  const auto groups = cut_groups(5);
  REQUIRE(std::ranges::any_of(groups, [](const auto& g) {
    return std::ranges::any_of(g.segments, [](const auto& begins) { return !begins.empty(); });
  }));
  learner_options o = plain_gradient();
  learner l(config, start(), o);
  const auto report = l.step(groups, 4);
  CHECK(report.logprob_mismatch < 1e-5); // the forward pass says what was stamped, segment by segment
  const double fell = plain_loss(groups, start(), report) - plain_loss(groups, l.parameters(), report);
  CHECK(fell == doctest::Approx(1e-3 * report.gradient_norm * report.gradient_norm).epsilon(0.02));

  o.micro_batch_tokens = 12;
  learner parts(config, start(), o);
  CHECK(parts.step(groups, 4).micro_batches > 5);
  CHECK(largest_difference(l.parameters(), parts.parameters()) < 1e-5);

  auto wrong = groups;
  for (auto& mask : wrong[0].mask)
    mask.assign(mask.size(), 1);
  for (auto& begins : wrong[0].segments)
    if (!begins.empty())
      CHECK_THROWS_AS(l.step(wrong, 5), std::invalid_argument);
}

TEST_CASE("the gradient is that of the loss: a small step lowers it by lr times the squared norm") {
  const auto groups = some_groups(2);
  learner_options o = plain_gradient();
  learner l(config, start(), o);
  const auto before = l.step(groups, 4);
  const double fell = plain_loss(groups, start(), before) - plain_loss(groups, l.parameters(), before);
  CHECK(fell == doctest::Approx(1e-3 * before.gradient_norm * before.gradient_norm).epsilon(0.02));
}

TEST_CASE("activation checkpointing trains to the same bits") {
  for (const auto computes : {precision::float32, precision::bfloat16}) {
    learner_options o = some_options();
    o.computes = computes;
    o.micro_batch_tokens = 12;
    o.loss.entropy_coefficient = 0.01;
    learner kept(config, start(), o);
    o.activations = model::activations::recomputed;
    learner recomputed(config, start(), o);
    for (std::uint32_t step = 0; step < 3; ++step) {
      const auto groups = some_groups(step, 0.3f, true);
      const auto a = kept.step(groups, step), b = recomputed.step(groups, step);
      CHECK(a.loss == b.loss);
      CHECK(a.gradient_norm == b.gradient_norm);
    }
    CHECK(largest_difference(kept.parameters(), start()) > 0);
    CHECK(largest_difference(kept.parameters(), recomputed.parameters()) == 0);
  }
}

TEST_CASE("a learner in bfloat16 has fp32's step but for roundings, and goes on from what an fp32 one has saved") {
  temporary_folder folder;
  learner_options o = plain_gradient();
  learner wide(config, start(), o);
  o.computes = precision::bfloat16;
  learner half(config, start(), o);
  const auto groups = some_groups(2);
  const auto a = wide.step(groups, 4), b = half.step(groups, 4);
  CHECK(b.loss == doctest::Approx(a.loss).epsilon(0.01));
  CHECK(b.gradient_norm != a.gradient_norm);
  CHECK(b.gradient_norm == doctest::Approx(a.gradient_norm).epsilon(0.02));
  CHECK(a.logprob_mismatch < 1e-5);
  CHECK(b.logprob_mismatch > 1e-4); // to what was sampled in fp32
  CHECK(b.logprob_mismatch < 0.1);
  for (const auto& parameter : half.parameters())
    CHECK((parameter.tensor.scalar_type() == at::kFloat));

  wide.save_state(folder.path);
  learner resumed(config, wide.parameters(), o);
  resumed.load_state(folder.path);
  CHECK(resumed.steps() == 1);
  CHECK(resumed.step(some_groups(3), 5).result == step_report::outcome::applied);
}

TEST_CASE("the same inputs give the same bits") {
  learner a(config, start(), some_options()), b(config, start(), some_options());
  for (std::uint64_t i = 0; i < 4; ++i) {
    const auto x = a.step(some_groups(i, 0.2f), 4), y = b.step(some_groups(i, 0.2f), 4);
    CHECK(x.loss == y.loss);
    CHECK(x.gradient_norm == y.gradient_norm);
  }
  CHECK(equal_bits(a.parameters(), b.parameters()));
}

TEST_CASE("auto takes what is there; a device that is not there is refused by the key's name") {
  auto options = some_options();
  options.device = "auto";
  const learner any(config, start(), options);
  CHECK(any.parameters().at(0).tensor.is_cuda() == at::hasCUDA());
  options.device = "cuda";
  if (!at::hasCUDA())
    CHECK_THROWS_WITH_AS(learner(config, start(), options), doctest::Contains("run.device: found \"cuda\""),
                         input_error);
}

TEST_CASE("training goes on bit for bit from saved state") {
  temporary_folder folder;
  learner a(config, start(), some_options());
  a.step(some_groups(1), 0);
  a.step(some_groups(2), 1);
  a.save_state(folder.path);
  learner b(config, copy_of(a.parameters()), some_options());
  b.load_state(folder.path);
  CHECK(b.steps() == 2);
  a.step(some_groups(3), 2);
  b.step(some_groups(3), 2);
  CHECK(equal_bits(a.parameters(), b.parameters()));
}

TEST_CASE("state that is missing, cut short or of another model is refused by the file's name") {
  temporary_folder folder;
  learner l(config, start(), some_options());
  CHECK_THROWS_WITH_AS(l.load_state(folder.path), doctest::Contains("optimizer.safetensors"), input_error);
  l.save_state(folder.path);
  auto other_config = config;
  other_config.ffn_size = 52;
  learner other(other_config, tests::random_weights(other_config, 1, at::kFloat, false), some_options());
  CHECK_THROWS_WITH_AS(other.load_state(folder.path), doctest::Contains("another shape"), input_error);
  const auto file = folder.path / "optimizer.safetensors";
  std::filesystem::resize_file(file, std::filesystem::file_size(file) / 2);
  CHECK_THROWS_WITH_AS(l.load_state(folder.path), doctest::Contains("optimizer.safetensors"), input_error);
}

TEST_CASE("a gradient that is not finite leaves everything as it was and names the groups") {
  learner_options o = some_options();
  o.loss.kl_coefficient = 1e38;
  o.loss.kl = algorithms::kl_estimator::k2;
  auto groups = some_groups(1, 0, true);
  for (auto& answer : groups[1].ref_logprob)
    for (auto& logprob : answer)
      logprob = -1e30f;
  learner l(config, start(), o);
  const auto report = l.step(groups, 4);
  CHECK(report.result == step_report::outcome::not_finite);
  CHECK(report.reason == "the loss is not finite");
  CHECK(std::find(report.culprits.begin(), report.culprits.end(), 101u) != report.culprits.end());
  CHECK(equal_bits(l.parameters(), start()));
  CHECK(l.steps() == 0);

  // what was refused leaves nothing behind in the gradients
  learner fresh(config, start(), o);
  l.step(some_groups(2, 0, true), 4);
  fresh.step(some_groups(2, 0, true), 4);
  CHECK(equal_bits(l.parameters(), fresh.parameters()));
}

TEST_CASE("a stop leaves parameters untouched") {
  std::stop_source stop;
  stop.request_stop();
  learner l(config, start(), some_options());
  const auto report = l.step(some_groups(1), 4, stop.get_token());
  CHECK(report.result == step_report::outcome::stopped);
  CHECK(equal_bits(l.parameters(), start()));
  CHECK(l.steps() == 0);
}

TEST_CASE("the report counts tokens, staleness, rewards and groups that teach nothing") {
  auto groups = some_groups(5);
  groups[0].reward = {2, 2, 2, 2, 2};
  groups[1].version[0].assign(groups[1].version[0].size(), 1u);
  std::int64_t tokens = 0, prompt = 0, old = static_cast<std::int64_t>(groups[1].version[0].size());
  for (const auto& group : groups) {
    prompt += static_cast<std::int64_t>(group.prompt.size());
    for (const auto& answer : group.answers)
      tokens += static_cast<std::int64_t>(answer.size());
  }
  REQUIRE(old > 0);
  learner l(config, start(), some_options());
  const auto report = l.step(groups, 4);
  CHECK(report.result == step_report::outcome::applied);
  CHECK(report.groups == 3);
  CHECK(report.answers == 15);
  CHECK(report.answer_tokens == tokens);
  CHECK(report.sampled_tokens == tokens);
  CHECK(report.seen.tokens + report.flat_tokens_left_out == tokens);
  CHECK(report.flat_tokens_left_out > 0);
  CHECK(report.prompt_tokens == prompt);
  CHECK(report.zero_variance_groups >= 1);
  CHECK(report.staleness_max == 3);
  CHECK(report.staleness_mean == doctest::Approx(3.0 * static_cast<double>(old) / static_cast<double>(tokens)));
  CHECK(report.learning_rate == 1e-3);
  CHECK(report.logprob_mismatch >= 0);
  CHECK(report.logprob_mismatch < 1e-5);
  CHECK(report.seen.mean_weight() == doctest::Approx(1).epsilon(1e-4));
}

TEST_CASE("answers that a mask has emptied keep their length in the report") {
  auto groups = some_groups(5);
  std::int64_t tokens = 0, longest = 0;
  for (auto& group : groups) {
    for (auto& answer : group.answers) {
      group.sampled.push_back({{.version = 4, .tokens = static_cast<std::uint32_t>(answer.size()) + 1}});
      tokens += static_cast<std::int64_t>(answer.size()) + 1;
      longest = std::max(longest, static_cast<std::int64_t>(answer.size()) + 1);
      answer.clear();
    }
    for (auto* column : {&group.behaviour_logprob})
      for (auto& answer : *column)
        answer.clear();
    for (auto& answer : group.version)
      answer.clear();
  }
  learner l(config, start(), some_options());
  const auto report = l.step(groups, 4);
  CHECK(report.answer_tokens == 0);
  CHECK(report.sampled_tokens == tokens);
  CHECK(report.longest_answer == longest);
}

TEST_CASE("the mismatch is measured on tokens of the version being trained only") {
  auto groups = some_groups(6);
  auto& column = groups[0].behaviour_logprob;
  std::find_if(column.begin(), column.end(), [](const auto& answer) { return !answer.empty(); })->at(0) -= 0.25f;
  learner l(config, start(), some_options());
  const auto report = l.step(groups, 4);
  CHECK(report.logprob_mismatch == doctest::Approx(0.25).epsilon(1e-3));
  CHECK(report.mismatch_tokens > 1);
  CHECK(report.mean_mismatch() == doctest::Approx(0.25 / static_cast<double>(report.mismatch_tokens)).epsilon(1e-3));
  CHECK(l.step(groups, 5).logprob_mismatch == -1);
}

TEST_CASE("columns that disagree are refused by group, answer and column") {
  learner l(config, start(), some_options());
  const auto refused = [&](auto&& spoil, const char* words) {
    auto groups = some_groups(1);
    spoil(groups[2]);
    CHECK_THROWS_WITH_AS(l.step(groups, 4), doctest::Contains(words), std::invalid_argument);
  };
  refused([](auto& g) { g.reward.pop_back(); }, "group 102: reward of 4 answers, want 5");
  refused([](auto& g) { g.behaviour_logprob[1].push_back(0); }, "group 102: logprob of answer 1");
  refused([](auto& g) { g.version.pop_back(); }, "group 102: version of 4 answers, want 5");
  refused([](auto& g) { g.baseline = {1}; }, "group 100: baseline of 0 answers, want 5");
  refused([](auto& g) { g.prompt.clear(); }, "group 102: an empty prompt");
  refused([](auto& g) { g.prompt[0] = 40; }, "group 102: token 40, want 0 to 39");
}

TEST_CASE("unknown words and ranges in the options are refused") {
  learner_options o = some_options();
  o.algorithm = "grppo";
  CHECK_THROWS_WITH_AS(learner(config, start(), o), doctest::Contains("algorithm 'grppo': unknown, want one of grpo"),
                       std::invalid_argument);
  o = some_options();
  o.algorithm_options = {{"clip_lo", 0.1}};
  CHECK_THROWS_WITH_AS(learner(config, start(), o), doctest::Contains("did you mean 'clip_low'"),
                       std::invalid_argument);
  o = some_options();
  o.temperature = 0;
  CHECK_THROWS_WITH_AS(learner(config, start(), o), doctest::Contains("temperature"), std::invalid_argument);
}

TEST_CASE("a step whose answers are all empty applies no gradient") {
  training_group group;
  group.prompt = {1, 2};
  group.answers = {{}, {}};
  group.behaviour_logprob = {{}, {}};
  group.version = {{}, {}};
  group.reward = {0, 1};
  learner l(config, start(), some_options());
  const auto report = l.step({&group, 1}, 0);
  CHECK(report.loss == 0);
  CHECK(report.gradient_norm == 0);
}

} // namespace learner_test
