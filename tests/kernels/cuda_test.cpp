#include "kernels/rms_norm.hpp"
#include "kernels/rope.hpp"
#include "kernels/swiglu.hpp"
#include "kernels/token_logprob.hpp"
#include "tests/kernels/random_floats.hpp"

#include <doctest/doctest.h>

#ifndef MILLRACE_CUDA

TEST_CASE("CUDA kernels agree with their references") { MESSAGE("skipped: built without MILLRACE_CUDA"); }

#else

#include "tests/kernels/device_buffer.hpp"

#include <algorithm>
#include <cmath>

using namespace millrace::kernels;
using millrace::test::device_buffer;
using millrace::test::random_floats;

namespace {

bool no_device() {
  int devices = 0;
  if (cudaGetDeviceCount(&devices) == cudaSuccess && devices > 0)
    return false;
  MESSAGE("skipped: no CUDA device");
  return true;
}

double worst(const std::vector<float>& got, const std::vector<float>& want) {
  double most = 0;
  for (std::size_t i = 0; i < got.size(); ++i)
    most = std::max(most, std::abs(static_cast<double>(got[i]) - want[i]) / (1 + std::abs(want[i])));
  return most;
}

// fp32 sums of a few hundred terms near 1 against sums in double.
constexpr double tolerance = 1e-5;

} // namespace

TEST_CASE("rms_norm on the device agrees with its reference") {
  if (no_device())
    return;
  for (const std::int64_t width : {1, 31, 257, 576}) {
    const auto x = random_floats(17 * width, 1), weight = random_floats(width, 2);
    std::vector<float> want(x.size());
    rms_norm_reference({x.data(), weight.data(), want.data(), 17, width, 1e-5f});
    const device_buffer dx{x}, dw{weight}, dy{want};
    rms_norm_cuda({dx.get(), dw.get(), dy.get(), 17, width, 1e-5f}, nullptr);
    CHECK(worst(dy.to_host(), want) < tolerance);
  }
}

TEST_CASE("rope on the device agrees with its reference") {
  if (no_device())
    return;
  auto want = random_floats(5 * 3 * 64, 3);
  const auto cos = random_floats(20 * 32, 4), sin = random_floats(20 * 32, 5);
  const std::vector<std::int64_t> at{0, 19, 3, 3, 7};
  const device_buffer dx{want}, dc{cos}, ds{sin};
  const device_buffer<std::int64_t> da{at};
  rope_reference({want.data(), at.data(), cos.data(), sin.data(), 5, 3, 64});
  rope_cuda({dx.get(), da.get(), dc.get(), ds.get(), 5, 3, 64}, nullptr);
  CHECK(worst(dx.to_host(), want) < tolerance);
}

TEST_CASE("swiglu on the device agrees with its reference") {
  if (no_device())
    return;
  const auto gate = random_floats(5000, 6, 4.0f), up = random_floats(5000, 7);
  std::vector<float> want(gate.size());
  swiglu_reference({gate.data(), up.data(), want.data(), 5000});
  const device_buffer dg{gate}, du{up}, dy{want};
  swiglu_cuda({dg.get(), du.get(), dy.get(), 5000}, nullptr);
  CHECK(worst(dy.to_host(), want) < tolerance);
}

TEST_CASE("token_logprob on the device agrees with its reference, masked words too") {
  if (no_device())
    return;
  for (const std::int64_t vocab : {1, 31, 32, 33, 257, 50257}) {
    auto logits = random_floats(9 * vocab, 8, 10.0f);
    std::vector<std::int32_t> targets;
    for (std::int64_t t = 0; t < 9; ++t)
      targets.push_back(t == 4 ? ignore_token : static_cast<std::int32_t>((t * 977) % vocab));
    for (std::int64_t v = 1; v < vocab; v += 3)
      if (v != targets[3])
        logits[static_cast<std::size_t>(3 * vocab + v)] = -INFINITY;
    std::vector<float> want(9);
    token_logprob_reference({logits.data(), targets.data(), want.data(), 9, vocab, 0.7f});
    const device_buffer dl{logits}, dy{want};
    const device_buffer<std::int32_t> dt{targets};
    token_logprob_cuda({dl.get(), dt.get(), dy.get(), 9, vocab, 0.7f}, nullptr);
    CHECK(worst(dy.to_host(), want) < tolerance);
  }
}

#endif
