#include "runtime/columns/version_pulls.hpp"

#include "runtime/columns/weights_delta.hpp"
#include "runtime/telemetry/log.hpp"

#include <mutex>
#include <optional>
#include <stdexcept>
#include <utility>

namespace millrace::columns {

struct version_pulls::newest_version {
  std::mutex mutex;
  std::optional<std::pair<std::uint32_t, transport::bundle>> what;

  void keep(std::uint32_t version, transport::bundle as_it_came) {
    const std::lock_guard lock(mutex);
    if (!what || what->first < version)
      what = {version, std::move(as_it_came)};
  }

  std::optional<transport::bundle> of(std::uint32_t version) {
    const std::lock_guard lock(mutex);
    return what && what->first == version ? std::optional(what->second) : std::nullopt;
  }
};

namespace {

/// @throws std::exception for a delta that does not lead there
transport::bundle led_to(const transport::bundle& before, const transport::bundle& delta, const ticket& wanted) {
  auto now = patched(before, delta);
  if (now.checksums() != wanted.checksums)
    throw std::runtime_error("its delta leads elsewhere");
  return now;
}

} // namespace

version_pulls::version_pulls(transport::data_plane& data, bool keeps, poster aside)
    : data_(data), newest_(keeps ? std::make_shared<newest_version>() : nullptr), aside_(std::move(aside)) {
}

void version_pulls::pull(std::uint32_t version, const weight_shares& from, std::chrono::milliseconds timeout,
                         std::function<void(pulled_weights pulled, std::string error)> done) {
  const auto whole = [version, from, timeout, done, &data = data_, newest = newest_] {
    pull_weights(data, from, timeout, [version, done, newest](pulled_weights pulled, std::string error) {
      if (newest && pulled.shares.size() == 1 && !pulled.shares.front().shared()) // else it costs nothing to read
        newest->keep(version, pulled.shares.front());
      done(std::move(pulled), std::move(error));
    });
  };
  const auto before =
      newest_ && from.delta.id != 0 && from.tickets.size() == 1 ? newest_->of(from.since) : std::nullopt;
  if (!before)
    return whole();
  data_.pull(from.delta, timeout,
             [version, before = *before, wanted = from.tickets.front(), done, whole, newest = newest_,
              aside = aside_](transport::pull_result delta) {
               if (!delta) // it may have gone with its version: then the version says so
                 return whole();
               aside([=, delta = std::move(delta.value)] {
                 pulled_weights pulled;
                 try {
                   pulled.shares.push_back(led_to(before, delta, wanted));
                 } catch (const std::exception& wrong) {
                   telemetry::log_warning("weights", "version " + std::to_string(version) + ": " + wrong.what()
                                                         + ": all of it is pulled");
                   return whole();
                 }
                 newest->keep(version, pulled.shares.front());
                 done(std::move(pulled), {});
               });
             });
}

} // namespace millrace::columns
