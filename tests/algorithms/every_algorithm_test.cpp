#include "algorithms/policy_loss.hpp"
#include "tests/algorithms/columns.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

namespace every_algorithm_test {

using namespace millrace;
using namespace millrace::algorithms;
using tests::doubles;
using tests::largest_difference;

namespace {

/// Whether the rows' gradient at ratio 1 is -A for each token under a plain sum: those whose loss is not of tokens are
/// not.
bool is_policy_gradient(const algorithm& row) {
  static const std::set<std::string_view> supervised{"sft", "raft", "dpo", "bradley_terry", "drpo"};
  return supervised.count(row.name) == 0;
}

/// Rows whose loss holds a factor that is not differentiated: its slope is not its gradient.
bool has_detached_factor(const algorithm& row) {
  static const std::set<std::string_view> detached{"cispo", "topr", "drpo"};
  return detached.count(row.name) > 0;
}

constexpr std::int64_t answers_in_all = 8;

/// A step of groups of 3, 1, 2 and 2 answers, the last group of equal rewards, one answer empty.
struct whole_step {
  step_columns columns;
  at::Tensor logprob, score;
};

whole_step random_step(std::int64_t seed) {
  at::manual_seed(seed);
  whole_step s;
  step_columns& c = s.columns;
  c.reward = doubles({1, 0, 0.25, 1, 1, 0, 0.5, 0.5});
  c.group = at::tensor({0, 0, 0, 1, 2, 2, 3, 3}, at::kLong);
  c.length = at::tensor({3, 1, 2, 2, 0, 4, 1, 2}, at::kLong);
  const std::int64_t n = c.length.sum().item<std::int64_t>();
  const auto near = [&](const at::Tensor& x) { return x + 0.3 * at::randn({n}, at::kDouble); };
  c.old_logprob = -at::rand({n}, at::kDouble) - 0.1;
  c.behaviour_logprob = near(c.old_logprob);
  c.ref_logprob = near(c.old_logprob);
  c.value = at::randn({n}, at::kDouble);
  c.baseline = at::rand({answers_in_all}, at::kDouble);
  c.domain = at::tensor({4, 4, 4, 4, 1, 1, 1, 1}, at::kLong);
  s.logprob = near(c.old_logprob);
  s.score = at::randn({answers_in_all}, at::kDouble);
  return s;
}

step_totals totals_of(const step_columns& c) {
  const auto tokens_by_group =
      at::zeros({c.group.max().item<std::int64_t>() + 1}, at::kLong).index_add(0, c.group, c.length);
  return {c.length.sum().item<std::int64_t>(), c.length.gt(0).sum().item<std::int64_t>(),
          tokens_by_group.gt(0).sum().item<std::int64_t>()};
}

answer_columns answers_of_step(const algorithm& row, const whole_step& s, const hyperparameter_values& values) {
  const step_columns& c = s.columns;
  answer_columns a;
  a.logprob = s.logprob.clone().requires_grad_();
  a.old_logprob = c.old_logprob;
  a.behaviour_logprob = c.behaviour_logprob;
  a.ref_logprob = c.ref_logprob;
  a.advantage = row.advantages(c, values);
  a.length = c.length;
  a.reward = c.reward;
  a.group = c.group;
  a.group_tokens = at::zeros({c.group.max().item<std::int64_t>() + 1}, at::kLong)
                       .index_add(0, c.group, c.length)
                       .index_select(0, c.group);
  a.score = s.score.clone().requires_grad_();
  return a;
}

const at::Tensor& leaf_of(const algorithm& row, const answer_columns& a) {
  return row.on == head::score ? a.score : a.logprob;
}

struct outcome {
  double loss = 0;
  at::Tensor gradient;
};

outcome run(const algorithm& row, const whole_step& s) {
  const hyperparameter_values values(row.options);
  const answer_columns a = answers_of_step(row, s, values);
  diagnostics found;
  const at::Tensor loss = policy_loss(row, values, {}, a, totals_of(s.columns), found);
  loss.backward();
  return {loss.item<double>(), leaf_of(row, a).grad()};
}

/// The step with its answers in another order: `answers[i]` is the place that answer i came from.
whole_step reordered(const whole_step& s, const std::vector<std::int64_t>& answers, at::Tensor& token_places) {
  const step_columns& c = s.columns;
  const auto first = c.length.cumsum(0) - c.length;
  std::vector<at::Tensor> places;
  for (const std::int64_t i : answers)
    places.push_back(first[i] + at::arange(c.length[i].item<std::int64_t>(), at::kLong));
  token_places = at::cat(places);
  const at::Tensor from = at::tensor(answers, at::kLong);
  whole_step out;
  const auto tokens = [&](const at::Tensor& x) { return x.index_select(0, token_places); };
  const auto of_answers = [&](const at::Tensor& x) { return x.index_select(0, from); };
  out.columns = {of_answers(c.reward),  {},
                 of_answers(c.length),  tokens(c.behaviour_logprob),
                 tokens(c.ref_logprob), tokens(c.old_logprob),
                 tokens(c.value),       of_answers(c.baseline),
                 of_answers(c.domain)};
  out.columns.group = std::get<1>(at::unique_consecutive(of_answers(c.group), true));
  out.logprob = tokens(s.logprob);
  out.score = of_answers(s.score);
  return out;
}

} // namespace

TEST_CASE(
    "every algorithm: where the row says that its losses are products with the advantage, tokens of advantage 0 have "
    "neither loss nor gradient, and only there") {
  for (const algorithm* row : all()) {
    CAPTURE(std::string(row->name));
    const hyperparameter_values values(row->options);
    const whole_step s = random_step(5);
    answer_columns a = answers_of_step(*row, s, values);
    a.advantage = at::zeros_like(a.advantage);
    diagnostics found;
    const at::Tensor losses = row->losses(a, values, found);
    losses.sum().backward();
    const bool silent = at::all(losses.eq(0)).item<bool>() && at::all(leaf_of(*row, a).grad().eq(0)).item<bool>();
    CHECK(silent == row->by_advantage);
  }
}

TEST_CASE("every algorithm: the gradient equals finite differences") {
  constexpr double step = 1e-6;
  for (const algorithm* row : all()) {
    if (has_detached_factor(*row))
      continue;
    CAPTURE(std::string(row->name));
    const hyperparameter_values values(row->options);
    const whole_step s = random_step(11);
    const at::Tensor gradient = run(*row, s).gradient;
    const answer_columns a = answers_of_step(*row, s, values);
    for (std::int64_t i = 0; i < gradient.numel(); ++i) {
      const auto moved = [&](double by) {
        answer_columns b = a;
        at::Tensor& leaf = row->on == head::score ? b.score : b.logprob;
        leaf = leaf.detach().clone();
        leaf[i] += by;
        diagnostics found;
        return policy_loss(*row, values, {}, b, totals_of(s.columns), found).item<double>();
      };
      CHECK(std::abs((moved(step) - moved(-step)) / (2 * step) - gradient[i].item<double>()) < 1e-7);
    }
  }
}

TEST_CASE("every algorithm: the order of answers in a group and of groups changes nothing") {
  const whole_step s = random_step(12);
  for (const algorithm* row : all()) {
    CAPTURE(std::string(row->name));
    const outcome want = run(*row, s);
    for (const std::vector<std::int64_t>& order :
         {std::vector<std::int64_t>{2, 0, 1, 3, 5, 4, 7, 6}, {4, 5, 7, 6, 3, 1, 2, 0}}) {
      at::Tensor places;
      const outcome got = run(*row, reordered(s, order, places));
      CHECK(std::abs(got.loss - want.loss) < 1e-12);
      const at::Tensor back = row->on == head::score ? at::tensor(order, at::kLong) : places;
      CHECK(largest_difference(got.gradient, want.gradient.index_select(0, back)) < 1e-12);
    }
  }
}

TEST_CASE("every algorithm: cutting a step into its groups, or its answers, changes nothing") {
  const whole_step s = random_step(13);
  for (const algorithm* row : all()) {
    CAPTURE(std::string(row->name));
    const hyperparameter_values values(row->options);
    // The damping of drpo is of the micro-batch: at the start of the step there is none.
    whole_step here = s;
    if (row->name == "drpo")
      here.logprob = here.columns.old_logprob.clone();
    const outcome want = run(*row, here);
    const answer_columns a = answers_of_step(*row, here, values);
    const at::Tensor unit_of = row->whole == unit::group ? a.group : at::arange(answers_in_all, at::kLong);
    double loss = 0;
    diagnostics found;
    for (std::int64_t first = 0, token = 0; first < answers_in_all;) {
      std::int64_t n = 1;
      while (first + n < answers_in_all && unit_of[first + n].equal(unit_of[first]))
        ++n;
      const std::int64_t tokens = a.length.narrow(0, first, n).sum().item<std::int64_t>();
      answer_columns part = a;
      for (at::Tensor* x :
           {&part.logprob, &part.old_logprob, &part.behaviour_logprob, &part.ref_logprob, &part.advantage})
        *x = x->narrow(0, token, tokens);
      for (at::Tensor* x : {&part.length, &part.reward, &part.group, &part.group_tokens, &part.score})
        *x = x->narrow(0, first, n);
      const at::Tensor share = policy_loss(*row, values, {}, part, totals_of(here.columns), found);
      loss += share.item<double>();
      share.backward();
      first += n;
      token += tokens;
    }
    CHECK(std::abs(loss - want.loss) < 1e-12);
    CHECK(largest_difference(leaf_of(*row, a).grad(), want.gradient) < 1e-12);
  }
}

TEST_CASE("every policy gradient: at ratio 1 the gradient is the plain one, minus the advantage") {
  for (const algorithm* row : all()) {
    if (!is_policy_gradient(*row))
      continue;
    CAPTURE(std::string(row->name));
    whole_step s = random_step(14);
    s.logprob = s.columns.behaviour_logprob = s.columns.old_logprob;
    const hyperparameter_values values(row->options);
    const answer_columns a = answers_of_step(*row, s, values);
    diagnostics found;
    policy_loss(*row, values, {.how = aggregation::sequence_mean}, a, {1, 1, 1}, found).backward();
    const at::Tensor share = a.length.clamp_min(1).to(at::kDouble).reciprocal().repeat_interleave(a.length);
    CHECK(largest_difference(a.logprob.grad(), -a.advantage * share) < 1e-12);
    CHECK(found.clipped == 0);
  }
}

TEST_CASE("every group baseline: equal rewards, or a group of one, have no gradient at all") {
  static const std::set<std::string_view> without_baseline{
      "ppo", "vtrace", "remax", "reinforce_pp", "reinforce_pp_baseline", "topr", "sft", "raft"};
  const whole_step s = random_step(15);
  for (const algorithm* row : all()) {
    if (without_baseline.count(row->name))
      continue;
    CAPTURE(std::string(row->name));
    whole_step here = s;
    if (row->name == "drpo")
      here.logprob = here.columns.old_logprob.clone();
    const at::Tensor gradient = run(*row, here).gradient;
    if (row->on == head::score) {
      CHECK(gradient.narrow(0, 6, 2).abs().max().item<double>() == 0);
    } else {
      CHECK(gradient.narrow(0, 6, 2).abs().max().item<double>() == 0);  // the group of one: tokens 6 and 7
      CHECK(gradient.narrow(0, 12, 3).abs().max().item<double>() == 0); // the group of equal rewards
    }
    CHECK(gradient.abs().max().item<double>() > 0);
  }
}

TEST_CASE("every algorithm says truly whether an answer alone in its group trains anything") {
  for (const algorithm* row : all()) {
    CAPTURE(std::string(row->name));
    const auto gradient = [&](const std::map<std::string, double>& set) {
      whole_step s = random_step(19);
      s.columns.group = at::arange(answers_in_all, at::kLong);
      if (row->name == "drpo") // its damping is of what the step has moved already
        s.logprob = s.columns.old_logprob.clone();
      const hyperparameter_values values(row->options, set);
      const answer_columns a = answers_of_step(*row, s, values);
      diagnostics found;
      policy_loss(*row, values, {}, a, totals_of(s.columns), found).backward();
      return leaf_of(*row, a).grad().abs().max().item<double>();
    };
    CHECK((gradient({}) == 0) == (row->least_answers == 2));
    if (!row->least_switch.empty())
      CHECK((gradient({{std::string(row->least_switch), 1}}) == 0) == (row->least_answers == 1));
  }
}

TEST_CASE("every algorithm with a KL in the reward bounds it by the clamps") {
  std::size_t rows = 0;
  for (const algorithm* row : all()) {
    CAPTURE(std::string(row->name));
    if (std::none_of(row->options.begin(), row->options.end(), [](const auto& o) { return o.name == "kl_in_reward"; }))
      continue;
    ++rows;
    // One token 7 nats from the reference is charged as if it were at the clamp.
    const auto advantages = [&](double distance, kl_clamps clamps, double estimator) {
      step_columns c = random_step(20).columns;
      c.ref_logprob[0] = c.behaviour_logprob[0] - distance;
      c.clamps = clamps;
      const hyperparameter_values values(row->options, {{"kl_in_reward", 0.05}, {"kl_in_reward_estimator", estimator}});
      return at::stack({row->advantages(c, values), row->returns ? row->returns(c, values) : c.value});
    };
    for (const double estimator : {1.0, 2.0, 3.0}) {
      CAPTURE(estimator);
      const at::Tensor free = advantages(7, {}, estimator), within = advantages(2, {}, estimator);
      CHECK(largest_difference(free, within) > 1e-6);
      CHECK(largest_difference(advantages(7, {.input = 2}, estimator), within) < 1e-12);
      const double largest = estimator == 1 ? 2 : estimator == 2 ? 2 : std::exp(-2.0) + 2 - 1;
      CHECK(largest_difference(advantages(7, {.output = largest}, estimator), within) < 1e-12);
    }
  }
  CHECK(rows >= 6);
}

TEST_CASE("every algorithm: log-ratios far apart give a finite loss and gradient") {
  for (const double far : {1e4, -1e4}) {
    whole_step s = random_step(16);
    s.logprob[0] += far;
    s.logprob[9] -= far;
    for (const algorithm* row : all()) {
      CAPTURE(std::string(row->name));
      const outcome out = run(*row, s);
      CHECK(std::isfinite(out.loss));
      CHECK(at::isfinite(out.gradient).all().item<bool>());
    }
  }
}

TEST_CASE("every algorithm: a step whose answers are all empty has loss zero") {
  for (const algorithm* row : all()) {
    CAPTURE(std::string(row->name));
    whole_step s = random_step(17);
    s.columns.length = at::zeros_like(s.columns.length);
    for (at::Tensor* x :
         {&s.columns.behaviour_logprob, &s.columns.ref_logprob, &s.columns.old_logprob, &s.columns.value, &s.logprob})
      *x = at::empty({0}, at::kDouble);
    CHECK(run(*row, s).loss == 0);
  }
}

TEST_CASE("advantages are of the rewards' type, detached, one for each token") {
  for (const algorithm* row : all()) {
    CAPTURE(std::string(row->name));
    whole_step s = random_step(18);
    s.columns.reward = s.columns.reward.to(at::kFloat);
    const at::Tensor a = row->advantages(s.columns, hyperparameter_values(row->options));
    CHECK(a.dtype() == at::kFloat);
    CHECK(!a.requires_grad());
    CHECK(a.numel() == s.logprob.numel());
  }
}

} // namespace every_algorithm_test
