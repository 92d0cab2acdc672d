#pragma once

#include "runtime/transport/buffer_pool.hpp"
#include "runtime/transport/data_plane.hpp"
#include "tests/support/eventually.hpp"

#include <algorithm>
#include <atomic>
#include <future>
#include <random>

namespace millrace::transport::testing {

inline const std::size_t buffer_class_of_largest = buffer_pool::class_size(2'000'200);

inline data_plane_options options_of(std::uint64_t node, wire how = wire::tcp) {
  data_plane_options options;
  options.node = node;
  options.transport = how;
  options.key.fill(std::byte{0x5a});
  return options;
}

/// Nodes 1 and 2 of this process, introduced to each other.
struct pair_of_planes {
  explicit pair_of_planes(wire how) : a(options_of(1, how)), b(options_of(2, how)) {
    a.add_peer(2, b.address());
    b.add_peer(1, a.address());
  }

  data_plane a;
  data_plane b;
};

/// Two columns, `bytes` of u8 and three floats, or only the first if there are no bytes.
inline bundle random_bundle(std::size_t bytes, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<std::uint64_t> words(bytes / 8 + 1);
  std::generate(words.begin(), words.end(), random);
  const std::vector<float> floats{1, 2, float(seed)};
  bundle_builder builder;
  builder.add<std::uint8_t>("bytes", {reinterpret_cast<const std::uint8_t*>(words.data()), bytes});
  if (bytes != 0)
    builder.add<float>("floats", floats);
  return builder.finish();
}

inline bool same(const bundle& a, const bundle& b) {
  return std::ranges::equal(a.columns(), b.columns(), [](const column& x, const column& y) {
    return x.spec == y.spec && std::ranges::equal(x.bytes, y.bytes);
  });
}

inline pull_result pull(data_plane& plane, const ticket& t,
                        std::chrono::milliseconds timeout = std::chrono::seconds(20)) {
  auto promise = std::make_shared<std::promise<pull_result>>();
  auto result = promise->get_future();
  plane.pull(t, timeout, [promise](pull_result got) { promise->set_value(std::move(got)); });
  return result.get();
}

inline pull_result pull(data_plane& plane, const ticket& t, wanted_columns wanted,
                        std::chrono::milliseconds timeout = std::chrono::seconds(20)) {
  auto promise = std::make_shared<std::promise<pull_result>>();
  auto result = promise->get_future();
  plane.pull(t, std::move(wanted), timeout, [promise](pull_result got) { promise->set_value(std::move(got)); });
  return result.get();
}

using tests::eventually;

} // namespace millrace::transport::testing
