#include "kernels/half.hpp"
#include "kernels/packed_matrix.hpp"
#include "kernels/system_memory.hpp"
#include "kernels/thread_team.hpp"
#include "tests/kernels/random_floats.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <numeric>
#include <optional>
#include <span>

namespace packed_matrix_test {

using namespace millrace::kernels;
using millrace::test::instruction_sets_here;
using millrace::test::random_floats;

namespace {

std::vector<float> product(const packed_matrix& w, const std::vector<float>& x, std::int64_t rows, const float* bias,
                           thread_team& team) {
  std::vector<float> y(static_cast<std::size_t>(rows * w.out()), NAN);
  const packed_product one{&w, bias, y.data()};
  packed_linear(x.data(), rows, {&one, 1}, team);
  return y;
}

bool same_bits(const float* a, const float* b, std::int64_t count) {
  return std::memcmp(a, b, static_cast<std::size_t>(count) * sizeof(float)) == 0;
}

} // namespace

TEST_CASE("a product anyone can redo: [1 2; 3 4; 5 6] x (10, 100) + (1, 1, 1)") {
  const std::vector<float> w{1, 2, 3, 4, 5, 6}, bias{1, 1, 1};
  const packed_matrix packed(w.data(), 3, 2);
  for (const auto set : instruction_sets_here()) {
    thread_team team(1, set);
    CHECK(product(packed, {10, 100}, 1, bias.data(), team) == std::vector<float>{211, 431, 651});
  }
}

TEST_CASE("every version agrees with the reference, whatever the sizes") {
  // A chain of n fused steps over values near 1 errs by about sqrt(n) * 2^-24 * sqrt(n) = n * 6e-8, n at most 1100.
  constexpr double tolerance = 1e-4;
  for (const auto set : instruction_sets_here())
    for (const std::int64_t out : {1, 31, 32, 33, 100})
      for (const std::int64_t in : {1, 15, 64, 513, 1100})
        for (const std::int64_t rows : {1, 2, 7, 8, 9, 17, 33}) {
          thread_team team(2, set);
          const auto w = random_floats(out * in, 1), x = random_floats(rows * in, 2), bias = random_floats(out, 3);
          const packed_matrix packed(w.data(), out, in);
          const auto got = product(packed, x, rows, bias.data(), team);
          std::vector<float> want(got.size());
          const packed_product one{&packed, bias.data(), want.data()};
          packed_linear_reference(x.data(), rows, {&one, 1});
          double worst = 0;
          for (std::size_t i = 0; i < got.size(); ++i)
            worst = std::max(worst, std::abs(static_cast<double>(got[i]) - want[i]));
          CAPTURE(name(set));
          CAPTURE(out);
          CAPTURE(in);
          CAPTURE(rows);
          CHECK(worst < tolerance * std::sqrt(static_cast<double>(in)));
        }
}

TEST_CASE("a row's result has the same bits alone and among others, with one thread and with three") {
  constexpr std::int64_t in = 600, out = 130, rows = 37;
  const auto w = random_floats(out * in, 4), x = random_floats(rows * in, 5);
  const packed_matrix packed(w.data(), out, in);
  for (const auto set : instruction_sets_here()) {
    thread_team one(1, set), three(3, set);
    const auto together = product(packed, x, rows, nullptr, one);
    CHECK(product(packed, x, rows, nullptr, three) == together);
    for (const std::int64_t count : {1, 3, 8, 20})
      for (std::int64_t r = 0; r + count <= rows; r += 5) {
        const std::vector<float> part(x.begin() + r * in, x.begin() + (r + count) * in);
        const auto alone = product(packed, part, count, nullptr, three);
        CHECK(same_bits(alone.data(), together.data() + r * out, count * out));
      }
  }
}

TEST_CASE("AVX-512 and AVX2 give the same bits") {
  if (best_instruction_set() < instruction_set::avx512) {
    MESSAGE("skipped: no AVX-512 here");
    return;
  }
  const auto w = random_floats(96 * 700, 6), x = random_floats(11 * 700, 7);
  const packed_matrix packed(w.data(), 96, 700);
  thread_team wide(1, instruction_set::avx512), narrow(1, instruction_set::avx2);
  CHECK(product(packed, x, 11, nullptr, wide) == product(packed, x, 11, nullptr, narrow));
}

TEST_CASE("several products over one input equal each alone") {
  const auto w1 = random_floats(70 * 40, 8), w2 = random_floats(33 * 40, 9), x = random_floats(5 * 40, 10);
  const packed_matrix a(w1.data(), 70, 40), b(w2.data(), 33, 40);
  thread_team team(2);
  std::vector<float> ya(5 * 70), yb(5 * 33);
  const packed_product both[] = {{&a, nullptr, ya.data()}, {&b, nullptr, yb.data()}};
  packed_linear(x.data(), 5, both, team);
  CHECK(ya == product(a, x, 5, nullptr, team));
  CHECK(yb == product(b, x, 5, nullptr, team));
}

TEST_CASE("bfloat16 weights: [1.5 -2; 3 0.25] x (2, 8), and the bits of the same numbers as floats at every size") {
  const std::vector<float> by_hand{1.5f, -2, 3, 0.25f};
  const auto halves_of = [](const std::vector<float>& w) {
    std::vector<bfloat16> halves;
    for (const float x : w)
      halves.push_back(rounded(x));
    return halves;
  };
  for (const auto set : instruction_sets_here()) {
    thread_team team(2, set);
    CHECK(product(packed_matrix(halves_of(by_hand).data(), 2, 2), {2, 8}, 1, nullptr, team)
          == std::vector<float>{-13, 8});
    for (const std::int64_t out : {1, 31, 32, 33, 100})
      for (const std::int64_t in : {1, 15, 64, 513, 1100})
        for (const std::int64_t rows : {1, 2, 7, 8, 9, 17, 33}) {
          const auto x = random_floats(rows * in, 2), bias = random_floats(out, 3);
          const auto halves = halves_of(random_floats(out * in, 1));
          std::vector<float> same;
          for (const auto half : halves)
            same.push_back(widened(half));
          const packed_matrix narrow(halves.data(), out, in), wide(same.data(), out, in);
          CAPTURE(name(set));
          CAPTURE(out);
          CAPTURE(in);
          CAPTURE(rows);
          CHECK(product(narrow, x, rows, bias.data(), team) == product(wide, x, rows, bias.data(), team));
        }
  }
}

TEST_CASE("int8 weights anyone can redo: [127 -254 381; 5 0 -2.5] x (1, 2, 4) + (0.5, 0.5)") {
  // Scales 381/127 = 3 and the least 16-bit float from 5/127 on, 1291 * 2^-15: in steps of them the rows are
  // (42, -85, 127), since 127/3 = 42.33 and -254/3 = -84.67, and (127, 0, -63), since -2.5 is 63.45 steps below 0.
  // Inputs are whole numbers times 2^-12, exactly. 42 * 1 - 85 * 2 + 127 * 4 = 380; 127 - 63 * 4 = -125.
  const std::vector<float> w{127, -254, 381, 5, 0, -2.5f}, bias{0.5f, 0.5f};
  const auto packed = packed_matrix::as_int8(w.data(), 2, 3);
  CHECK(packed.stored_as() == storage::int8);
  std::vector<float> row(3);
  packed.copy_row(0, row.data());
  CHECK(row == std::vector<float>{126, -255, 381});
  const float step = 1291 * 0x1p-15f;
  packed.copy_row(1, row.data());
  CHECK(row == std::vector<float>{127 * step, 0, -63 * step});
  CHECK(packed.rounding_error()
        == doctest::Approx(std::sqrt((1 + 1 + std::pow(127 * step - 5, 2) + std::pow(2.5 - 63 * step, 2))
                                     / (127 * 127 + 254 * 254 + 381 * 381 + 25 + 6.25)))
               .epsilon(1e-4));
  for (const auto set : instruction_sets_here()) {
    thread_team team(1, set);
    CHECK(product(packed, {1, 2, 4}, 1, bias.data(), team) == std::vector<float>{1140.5f, -125 * step + 0.5f});
  }
}

TEST_CASE("int8: each weight moves by half a step of its block at most, and what was rounded before stays") {
  constexpr std::int64_t out = 40, in = 77; // the last block has 13 weights
  auto w = random_floats(out * in, 11, 0.05f);
  for (std::int64_t k = 0; k < in; ++k) {
    w[static_cast<std::size_t>(k)] *= 1e-5f;     // scales below the least normal half
    w[static_cast<std::size_t>(in + k)] *= 1e6f; // a large row
    w[static_cast<std::size_t>(2 * in + k)] = 0;
  }
  w[3 * in + 40] = 30; // alone among small ones
  const auto packed = packed_matrix::as_int8(w.data(), out, in);
  std::vector<float> row(in), all;
  for (std::int64_t o = 0; o < out; ++o) {
    packed.copy_row(o, row.data());
    all.insert(all.end(), row.begin(), row.end());
    for (std::int64_t begin = 0; begin < in; begin += 32) {
      float largest = 0;
      const std::int64_t end = std::min(in, begin + 32);
      for (std::int64_t k = begin; k < end; ++k)
        largest = std::max(largest, std::abs(w[static_cast<std::size_t>(o * in + k)]));
      const double step = widened(half_at_least(largest / 127));
      CHECK(step * 127 >= largest);
      // Halves are apart by 2^-10 of their size, and by 2^-24 at least.
      CHECK(step <= largest / 127 * (1 + 0x1p-10) + 0x1p-24);
      for (std::int64_t k = begin; k < end; ++k) {
        const double before = w[static_cast<std::size_t>(o * in + k)], after = row[static_cast<std::size_t>(k)];
        CHECK(std::abs(before - after) <= step / 2 * (1 + 0x1p-16)); // and the rounding of before / step
      }
    }
  }
  CHECK(packed.rounding_error() > 0.001);
  CHECK(packed.rounding_error() < 0.02);
  const auto again = packed_matrix::as_int8(all.data(), out, in);
  CHECK(again.rounding_error() == 0);
  for (std::int64_t o = 0; o < out; ++o) {
    again.copy_row(o, row.data());
    CHECK(std::equal(row.begin(), row.end(), all.begin() + o * in));
  }
}

TEST_CASE("int8: blocks of a GGUF's Q8_0, a half times whole numbers of which the largest is 127, stay as they are") {
  std::vector<float> w;
  for (std::int64_t block = 0; block < 40; ++block) {
    const half scale{static_cast<std::uint16_t>(0x0100 + block * 700)}; // from 2^-16 to 3500
    for (std::int64_t k = 0; k < 32; ++k)
      w.push_back(widened(scale) * static_cast<float>(k == block % 32 ? -127 : (k * 37 + block * 11) % 255 - 127));
  }
  const auto packed = packed_matrix::as_int8(w.data(), 8, 160);
  CHECK(packed.rounding_error() == 0);
  std::vector<float> row(160);
  for (std::int64_t o = 0; o < 8; ++o) {
    packed.copy_row(o, row.data());
    CHECK(std::equal(row.begin(), row.end(), w.begin() + o * 160));
  }
}

TEST_CASE("int8: weights are what plain arithmetic makes of them, those half way between two steps too") {
  constexpr std::int64_t out = 50, in = 96;
  auto w = random_floats(out * in, 21, 0.1f);
  for (std::size_t k = 0; k < w.size(); k += 3)
    w[k] = std::round(w[k] * 254) / 254;
  for (std::size_t k = 0; k < w.size(); k += 32)
    w[k + 5] = 0.5f; // the steps are halves of those
  const auto packed = packed_matrix::as_int8(w.data(), out, in);
  std::vector<float> row(in);
  std::size_t wrong = 0;
  for (std::int64_t o = 0; o < out; ++o) {
    packed.copy_row(o, row.data());
    for (std::int64_t begin = 0; begin < in; begin += 32) {
      const float* block = w.data() + o * in + begin;
      float largest = 0;
      for (std::int64_t k = 0; k < 32; ++k)
        largest = std::max(largest, std::abs(block[k]));
      const float step = widened(half_at_least(largest / 127));
      for (std::int64_t k = 0; k < 32; ++k)
        wrong += row[static_cast<std::size_t>(begin + k)] != std::nearbyint(block[k] / step) * step;
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("int8: every instruction set, any number of rows and threads give the bits of the plain reference") {
  for (const std::int64_t out : {1, 31, 32, 33, 100})
    for (const std::int64_t in : {1, 15, 32, 64, 513, 576, 1100}) {
      const auto w = random_floats(out * in, 1), bias = random_floats(out, 3);
      const auto packed = packed_matrix::as_int8(w.data(), out, in);
      for (const std::int64_t rows : {1, 2, 5, 6, 7, 9, 17, 33}) {
        auto x = random_floats(rows * in, 2);
        x[static_cast<std::size_t>(rows / 2 * in)] = 3000; // one large number, and small ones
        std::for_each(x.begin() + (rows - 1) * in, x.end(), [](float& small) { small *= 1e-35f; });
        for (const float* added : {static_cast<const float*>(nullptr), bias.data()}) {
          std::vector<float> want(static_cast<std::size_t>(rows * out));
          const packed_product one{&packed, added, want.data()};
          packed_linear_reference(x.data(), rows, {&one, 1});
          for (const auto set : instruction_sets_here())
            for (const int threads : {1, 3}) {
              thread_team team(threads, set);
              CAPTURE(name(set));
              CAPTURE(out);
              CAPTURE(in);
              CAPTURE(rows);
              CHECK(same_bits(product(packed, x, rows, added, team).data(), want.data(), rows * out));
            }
        }
      }
    }
}

TEST_CASE("int8: a row's result has the same bits alone and among others, near that of the weights as they were") {
  constexpr std::int64_t in = 600, out = 130, rows = 37;
  const auto w = random_floats(out * in, 4), x = random_floats(rows * in, 5);
  const auto packed = packed_matrix::as_int8(w.data(), out, in);
  const packed_matrix exact(w.data(), out, in);
  for (const auto set : instruction_sets_here()) {
    thread_team one(1, set), three(3, set);
    const auto together = product(packed, x, rows, nullptr, one);
    for (const std::int64_t count : {1, 3, 8, 20})
      for (std::int64_t r = 0; r + count <= rows; r += 5) {
        const std::vector<float> part(x.begin() + r * in, x.begin() + (r + count) * in);
        const auto alone = product(packed, part, count, nullptr, three);
        CHECK(same_bits(alone.data(), together.data() + r * out, count * out));
      }
    // Normal weights move by 0.5 % of their size in the mean, and so do sums of 600 of them: 0.12 of 24.
    const auto want = product(exact, x, rows, nullptr, one);
    double squares = 0;
    for (std::size_t i = 0; i < want.size(); ++i)
      squares += std::pow(static_cast<double>(together[i]) - want[i], 2);
    const double error = std::sqrt(squares / static_cast<double>(want.size()));
    CHECK(error > 0.05);
    CHECK(error < 0.2);
  }
}

TEST_CASE("int8: extremes add up without leaving 32 bits, and an input that is not finite shows") {
  constexpr std::int64_t in = 1024;
  const std::vector<float> w(in, -1.0f), x(in, -1.0f);
  const auto packed = packed_matrix::as_int8(w.data(), 1, in);
  for (const auto set : instruction_sets_here()) {
    thread_team team(1, set);
    CHECK(product(packed, x, 1, nullptr, team)[0] == doctest::Approx(1024).epsilon(1e-3));
    for (const float bad : {NAN, INFINITY, -INFINITY}) {
      auto broken = x;
      broken[700] = bad;
      CHECK(std::isnan(product(packed, broken, 1, nullptr, team)[0]));
    }
  }
}

TEST_CASE("int8 from bfloat16 is int8 from the same numbers as floats; what is not finite or too large is refused") {
  const auto w = random_floats(33 * 50, 12);
  std::vector<bfloat16> halves;
  std::vector<float> same;
  for (const float x : w) {
    halves.push_back(rounded(x));
    same.push_back(widened(halves.back()));
  }
  const auto narrow = packed_matrix::as_int8(halves.data(), 33, 50), wide = packed_matrix::as_int8(same.data(), 33, 50);
  CHECK(std::memcmp(narrow.panel<std::int8_t>(0), wide.panel<std::int8_t>(0),
                    packed_matrix::bytes_of(33, 50, storage::int8))
        == 0);
  for (const float bad : {NAN, INFINITY, 127 * 66000.0f}) {
    auto broken = w;
    broken[60] = bad;
    CHECK_THROWS_AS(packed_matrix::as_int8(broken.data(), 33, 50), std::invalid_argument);
  }
}

TEST_CASE("products of int8 and of floats over one input equal each alone") {
  const auto w1 = random_floats(70 * 40, 8), w2 = random_floats(33 * 40, 9), x = random_floats(5 * 40, 10);
  const auto a = packed_matrix::as_int8(w1.data(), 70, 40);
  const packed_matrix b(w2.data(), 33, 40);
  thread_team team(2);
  std::vector<float> ya(5 * 70), yb(5 * 33);
  const packed_product both[] = {{&a, nullptr, ya.data()}, {&b, nullptr, yb.data()}};
  packed_linear(x.data(), 5, both, team);
  CHECK(ya == product(a, x, 5, nullptr, team));
  CHECK(yb == product(b, x, 5, nullptr, team));
}

TEST_CASE("a row of the matrix comes back out of the layout") {
  const auto w = random_floats(70 * 5, 8);
  std::vector<bfloat16> halves;
  for (const float x : w)
    halves.push_back(rounded(x));
  const packed_matrix wide(w.data(), 70, 5), narrow(halves.data(), 70, 5);
  CHECK(std::memcmp(packed_matrix::as_bfloat16(w.data(), 70, 5).panel<bfloat16>(0), narrow.panel<bfloat16>(0),
                    packed_matrix::bytes_of(70, 5, storage::bfloat16))
        == 0);
  for (std::int64_t row = 0; row < 70; ++row) {
    std::vector<float> whole(5), half(5);
    wide.copy_row(row, whole.data());
    narrow.copy_row(row, half.data());
    for (std::size_t i = 0; i < 5; ++i) {
      CHECK(whole[i] == w[static_cast<std::size_t>(row) * 5 + i]);
      CHECK(half[i] == widened(halves[static_cast<std::size_t>(row) * 5 + i]));
    }
  }
}

TEST_CASE("several matrices share one piece of memory, which lives as long as one of them") {
  CHECK(packed_matrix::bytes_of(3, 5, storage::float32) == 32 * 5 * 4);
  CHECK(packed_matrix::bytes_of(33, 5, storage::bfloat16) == 64 * 5 * 2);
  CHECK(packed_matrix::bytes_of(33, 5, storage::int8) == 64 * 8 + 64 * 2);       // 5 inputs take the room of 8
  CHECK(packed_matrix::bytes_of(32, 576, storage::int8) == 32 * (576 + 18 * 2)); // a scale for each 32 weights
  std::vector<float> w(33 * 5);
  std::iota(w.begin(), w.end(), 1.0f);
  const auto bytes = packed_matrix::bytes_of(33, 5, storage::float32);
  auto all = system_memory(2 * bytes);
  CHECK(std::all_of(all.get(), all.get() + 2 * bytes, [](std::byte b) { return b == std::byte{}; }));
  const packed_matrix first(w.data(), 33, 5, {all, all.get()}), second(w.data(), 33, 5, {all, all.get() + bytes});
  CHECK(all.use_count() == 3);
  all.reset();
  const packed_matrix alone(w.data(), 33, 5);
  std::vector<float> row(5), want(5);
  for (std::int64_t r = 0; r < 33; ++r) {
    alone.copy_row(r, want.data());
    for (const auto* m : {&first, &second}) {
      m->copy_row(r, row.data());
      CHECK(row == want);
    }
  }
}

TEST_CASE("system memory begins where vectors, and large pages, may begin") {
  CHECK(reinterpret_cast<std::uintptr_t>(system_memory(100).get()) % 64 == 0);
  CHECK(reinterpret_cast<std::uintptr_t>(system_memory(std::size_t{5} << 20).get()) % (std::size_t{2} << 20) == 0);
  CHECK(system_memory(0) != nullptr);
}

TEST_CASE("spare memory is what was let go before, if the sizes are alike; two that are used at once are two") {
  std::optional<spare_memory> spare(std::in_place);
  const std::size_t bytes = std::size_t{1} << 20;
  auto first = spare->take(bytes + 1), second = spare->take(bytes + 1);
  CHECK((first.zeros && second.zeros));
  auto* const place = first.start.get();
  CHECK(second.start.get() != place);
  *place = std::byte{7};
  first = {};
  first = spare->take(bytes + (16 << 10)); // rounded up to 1 MiB and a sixteenth, both
  CHECK(first.start.get() == place);
  CHECK_FALSE(first.zeros);
  CHECK(*place == std::byte{7});
  first = {};
  const auto other = spare->take(2 * bytes); // the idle one is too small
  CHECK(other.zeros);
  CHECK(other.start.get()[2 * bytes - 1] == std::byte{});
  spare.reset();
  *second.start = std::byte{8}; // it outlives where it came from
  second = {};
}

TEST_CASE(
    "spare memory that nobody takes goes back: when it is asked for, and while others are taken again and again") {
  spare_memory spare;
  const std::size_t bytes = std::size_t{1} << 20;
  *spare.take(bytes).start = std::byte{7};
  spare.give_back();
  CHECK(spare.take(bytes).zeros);
  CHECK_FALSE(spare.take(bytes).zeros);
  for (int i = 0; i < 20; ++i)
    spare.take(4 * bytes);
  CHECK(spare.take(bytes).zeros);
  spare_memory sharing(false); // until somebody keeps it
  *sharing.take(bytes).start = std::byte{7};
  CHECK(sharing.take(bytes).zeros);
  sharing.keep();
  *sharing.take(bytes).start = std::byte{7};
  CHECK_FALSE(sharing.take(bytes).zeros);
}

TEST_CASE("weights over different inputs are refused, and so is an empty matrix") {
  const std::vector<float> w(12, 1.0f);
  const packed_matrix a(w.data(), 3, 4), b(w.data(), 4, 3);
  thread_team team(1);
  std::vector<float> y(16);
  const packed_product both[] = {{&a, nullptr, y.data()}, {&b, nullptr, y.data()}};
  CHECK_THROWS_AS(packed_linear(w.data(), 1, both, team), std::invalid_argument);
  CHECK_THROWS_AS(packed_matrix(w.data(), 0, 4), std::invalid_argument);
}

TEST_CASE("memory of the system: pages that are given stay as they are") {
  for (const std::size_t bytes : {std::size_t{3}, std::size_t{10'000}, (std::size_t{5} << 20) + 7}) {
    CAPTURE(bytes);
    const auto memory = system_memory(bytes);
    const std::span all(memory.get(), bytes);
    give_pages(memory.get(), bytes);
    CHECK(std::ranges::count(all, std::byte{0}) == std::ssize(all));
    std::ranges::fill(all, std::byte{7});
    give_pages(memory.get(), bytes);
    CHECK(std::ranges::count(all, std::byte{7}) == std::ssize(all));
  }
}

} // namespace packed_matrix_test
