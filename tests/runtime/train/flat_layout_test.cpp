#include "kernels/system_memory.hpp"
#include "runtime/train/flat_layout.hpp"
#include "runtime/train/optimizer.hpp"
#include "runtime/train/sharded_parameters.hpp"
#include "runtime/train/whole_parameters.hpp"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <atomic>
#include <stdexcept>
#include <thread>

namespace flat_layout_test {

using namespace millrace;
using train::flat_layout;

namespace {

model::named_tensor leaf(const std::string& name, std::int64_t numbers) {
  return {name, at::zeros({numbers}).requires_grad_()};
}

} // namespace

TEST_CASE("flat layout: parameters lie one after another, and shares are whole blocks") {
  const model::weights parameters{leaf("a", 3), leaf("b", 16), leaf("c", 17)};
  train::whole_parameters held(parameters);
  held.end_sum(); // of nothing: zeros
  CHECK(held.gradients().numel() == 1024);
  parameters[1].tensor.mutable_grad().fill_(2);
  CHECK(held.gradients().sum().item<float>() == 32);
  CHECK(held.gradients().narrow(0, 16, 16).sum().item<float>() == 32);
  CHECK(held.norm({held.squares()}) == 8);
}

TEST_CASE("whole parameters: gradients that rest are gone, and the next ones begin as zeros in the memory of those") {
  kernels::spare_memory::of_process().keep();
  for (const std::int64_t numbers : {3, 30'000}) {
    const model::weights parameters{leaf("a", 100), leaf("b", numbers)};
    const collective::parcel no_task;
    train::whole_parameters held(parameters);
    const auto adds = [&](float each) {
      held.work({.what = train::purpose::first}, &no_task, [&](const collective::parcel&, std::size_t pass) {
        CHECK(held.goes_back(true, {}, pass));
        CHECK(held.gradients().abs().max().item<float>() == 0);
        held.gradients().fill_(each);
        return collective::parcel{};
      });
      CHECK(held.gradients().min().item<float>() == each);
    };
    adds(3);
    adds(4); // another sum begins at zero
    const auto* const before = held.gradients().data_ptr();
    held.rest();
    CHECK_FALSE(held.gradients().defined());
    CHECK_FALSE(parameters[1].tensor.grad().defined());
    held.end_sum(); // of nothing
    CHECK(held.gradients().data_ptr() == before);
    CHECK(held.gradients().abs().max().item<float>() == 0);
    parameters[1].tensor.mutable_grad().fill_(2);
    CHECK(held.gradients().sum().item<double>() == 2 * static_cast<double>(numbers));
  }
}

TEST_CASE(
    "whole parameters that are lent stay as they are: the next update goes on elsewhere, unless nobody has them") {
  const model::weights parameters{leaf("a", 3), leaf("b", 5)};
  train::whole_parameters held(parameters, {}, nullptr, 2);
  const auto update = [&] {
    held.end_sum(); // of nothing: zeros
    held.about_to_change();
    for (const auto& piece : held.updates())
      at::Tensor(piece.values).add_(1);
    held.rest();
  };
  auto lent = held.lend();
  REQUIRE(lent);
  CHECK(lent->at(1).tensor.data_ptr() == parameters[1].tensor.data_ptr());
  update();
  CHECK(lent->at(1).tensor.eq(0).all().item<bool>());
  for (const std::size_t pass : {0, 1})
    CHECK(held.leaves_of(pass)[1].tensor.eq(1).all().item<bool>());
  auto* const place = parameters[1].tensor.data_ptr();
  lent = held.lend();
  lent.reset();
  update();
  CHECK(parameters[1].tensor.data_ptr() == place);
  CHECK(parameters[1].tensor.eq(2).all().item<bool>());
  update(); // nothing was lent
  CHECK(parameters[1].tensor.data_ptr() == place);
}

TEST_CASE("whole parameters: passes side by side add to one sum, in the order of their tasks") {
  // 1 + 2^-24 is 1 in fp32, and 2^-24 + 2^-24 is not lost: only one order ends at 1.
  const float little = 1.0f / (1 << 24);
  const model::weights parameters{leaf("a", 3), leaf("b", 30'000)};
  train::whole_parameters held(parameters, {}, nullptr, 3);
  model::pass_threads threads({.count = 3, .threads = 1});
  const std::vector<collective::parcel> tasks(3);
  const std::vector<float> adds{1, little, little};
  std::atomic<int> inside{0};
  for (const auto what : {train::purpose::first, train::purpose::first, train::purpose::goes_on}) {
    const auto work = [&](const collective::parcel&, std::size_t pass) {
      for (++inside; inside.load() % 3 != 0;) // all three are at work
        std::this_thread::yield();
      CHECK(held.goes_back(true, {}, pass));
      auto leaves = held.leaves_of(pass);
      CHECK(leaves[1].tensor.data_ptr() == parameters[1].tensor.data_ptr());
      leaves[1].tensor.mutable_grad().add_(adds[pass]);
      return collective::parcel{.words = {static_cast<std::int64_t>(pass)}, .numbers = {}, .tensors = {}};
    };
    const auto results = held.work_at_once({.what = what}, tasks, work, threads);
    CHECK(results.at(2).words.at(0) == 2);
    const auto sum = parameters[1].tensor.grad();
    CHECK(sum.eq(what == train::purpose::first ? 1.0f : 2.0f).all().item<bool>());
    for (const std::size_t pass : {1, 2})
      CHECK_FALSE(held.leaves_of(pass)[1].tensor.grad().defined()); // added, and let go
  }
  // A pass that fails ends the round once all are done, and the next sum knows nothing of it.
  const auto fails = [&](const collective::parcel&, std::size_t pass) -> collective::parcel {
    held.goes_back(true, {}, pass);
    held.leaves_of(pass)[1].tensor.mutable_grad().add_(7);
    throw std::runtime_error("pass " + std::to_string(pass));
  };
  CHECK_THROWS_WITH(held.work_at_once({.what = train::purpose::first}, tasks, fails, threads), "pass 0");
  held.work_at_once(
      {.what = train::purpose::first}, std::span(tasks).first(2),
      [&](const collective::parcel&, std::size_t pass) {
        held.goes_back(true, {}, pass);
        held.leaves_of(pass)[1].tensor.mutable_grad().add_(1);
        return collective::parcel{};
      },
      threads);
  CHECK(parameters[1].tensor.grad().eq(2).all().item<bool>());
  held.rest();
  CHECK_FALSE(held.gradients().defined());
}

TEST_CASE("whole parameters: a change below bfloat16's step is not lost, it shows when it has become one") {
  // Below 1, bfloat16 has steps of 2^-8. Each update takes 2^-10.
  const model::weights parameters{leaf("a", 5)};
  const auto p = parameters[0].tensor;
  p.detach().fill_(1);
  model::rounded_weights rounded;
  train::whole_parameters held(parameters, {}, &rounded);
  train::optimizer_options options;
  options.lr = 1.0 / 1024;
  options.beta1 = options.beta2 = 0;
  train::adamw optimizer(held.leaves(), options, held.updates());
  held.end_sum();                                                                    // of nothing: zeros
  for (const float want : {1.f, 1.f, 1 - 1 / 256.f, 1 - 1 / 256.f, 1 - 1 / 256.f}) { // 1 - 2 / 1024 is a tie: to 1
    p.mutable_grad().fill_(1);
    optimizer.step(1, 0, held.updates());
    held.changed();
    CHECK((rounded.of(p).scalar_type() == at::kBFloat16));
    CHECK(rounded.of(p).to(at::kFloat).eq(want).all().item<bool>());
  }
  CHECK(p[0].item<float>() == doctest::Approx(1 - 5.0 / 1024).epsilon(1e-6));
  held.keep_start();
  CHECK((held.whole(true)[0].tensor.scalar_type() == at::kFloat));
}

TEST_CASE("flat layout: a share may end inside of a parameter, and no block's sum of squares depends on the cut") {
  const model::weights parameters{leaf("a", 1000), leaf("b", 3000)}; // the second begins at 1008
  const flat_layout layout(parameters);
  CHECK(layout.numbers() == 4096);
  const auto share = [&](int rank) { return flat_layout::share(layout.whole(), rank, 3); };
  CHECK(share(1).begin == 1024);
  CHECK(share(2).begin == 2048);
  const auto first = layout.pieces(share(0)), last = layout.pieces(share(2));
  REQUIRE(first.size() == 2);
  CHECK(first[0].numbers == 1000);
  CHECK(first[1].parameter == 1);
  CHECK(first[1].begin == 0);
  CHECK(first[1].numbers == 16);
  REQUIRE(last.size() == 1);
  CHECK(last[0].begin == 1040);
  CHECK(last[0].numbers == 1960);
  const at::Tensor numbers = at::zeros({4096});
  layout.place(1).of(numbers).copy_(at::arange(3000) * 0.1);
  const auto whole = train::squares_of_blocks(numbers);
  std::vector<double> together;
  for (int rank = 0; rank < 3; ++rank)
    for (const double square : train::squares_of_blocks(share(rank).of(numbers)))
      together.push_back(square);
  CHECK(whole == together);
  CHECK(train::norm_of(whole) == doctest::Approx(at::arange(3000).mul(0.1).norm().item<double>()));
}

TEST_CASE("flat layout: a decoder's block is a unit of whole blocks of numbers") {
  const model::weights parameters{leaf("lm_head.weight", 5),    leaf("model.embed_tokens.weight", 1020),
                                  leaf("model.layers.0.a", 10), leaf("model.layers.10.a", 1025),
                                  leaf("model.layers.10.b", 2), leaf("model.layers.2.a", 1),
                                  leaf("model.norm.weight", 1)};
  const flat_layout layout(parameters);
  std::vector<std::int64_t> layers, begins, numbers;
  std::vector<std::size_t> firsts, counts;
  for (const auto& unit : layout.units()) {
    layers.push_back(unit.layer);
    begins.push_back(unit.range.begin);
    numbers.push_back(unit.range.numbers);
    firsts.push_back(unit.first);
    counts.push_back(unit.count);
  }
  CHECK(layers == std::vector<std::int64_t>{-1, 0, 10, 2, -1});
  CHECK(begins == std::vector<std::int64_t>{0, 2048, 3072, 5120, 6144}); // 16 + 1,020 numbers are two blocks
  CHECK(numbers == std::vector<std::int64_t>{2048, 1024, 2048, 1024, 1024});
  CHECK(firsts == std::vector<std::size_t>{0, 2, 3, 5, 6});
  CHECK(counts == std::vector<std::size_t>{2, 1, 2, 1, 1});
  CHECK(layout.numbers() == 7168);
  CHECK(layout.place(4).begin == 3072 + 1040);
}

TEST_CASE("sharded parameters: values, gradients and moments of n ranks are 1 / n of one's, and together all of them") {
  model::weights parameters{leaf("model.embed_tokens.weight", 200'000)};
  for (const char* layer : {"0", "1", "2", "3"})
    for (const char* part : {"a", "b"})
      parameters.push_back(leaf(std::string("model.layers.") + layer + '.' + part, 60'000));
  parameters.push_back(leaf("model.norm.weight", 64));
  constexpr std::int64_t all = 200'000 + 8 * 60'000 + 64;
  for (const int ranks : {2, 3, 4}) {
    CAPTURE(ranks);
    std::int64_t sum = 0;
    for (int rank = 0; rank < ranks; ++rank) {
      train::sharded_parameters held(parameters, at::kCPU, {rank, ranks, sharding::full});
      const auto pieces = held.updates();
      const train::adamw optimizer(held.leaves(), {}, pieces);
      std::int64_t values = 0, numbers = 0;
      for (std::size_t i = 0; i < pieces.size(); ++i) {
        const auto& piece = pieces[i];
        values += piece.values.numel();
        numbers += piece.values.numel() + piece.gradients.numel() + optimizer.first_moments()[i].numel()
                   + optimizer.second_moments()[i].numel();
      }
      CHECK(static_cast<double>(numbers) <= 1.1 * 4 * static_cast<double>(all) / ranks);
      for (const auto& away : held.leaves())
        CHECK(away.tensor.storage().nbytes() == 0);
      sum += values;
    }
    CHECK(sum == all);
  }
}

} // namespace flat_layout_test
