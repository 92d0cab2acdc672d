#include "runtime/columns/version_pulls.hpp"

#include "runtime/columns/adapter_base.hpp"
#include "runtime/columns/weights_delta.hpp"
#include "runtime/telemetry/log.hpp"

#include <atomic>
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

struct version_pulls::kept_base {
  explicit kept_base(std::filesystem::path path) : model(std::in_place, std::move(path)) {}

  std::optional<adapter_base> model; ///< of the thread of `aside`; none once it is useless
  std::atomic<bool> useless = false;
};

namespace {

/// @throws std::exception for a delta that does not lead there
transport::bundle led_to(const transport::bundle& before, const transport::bundle& delta, const ticket& wanted) {
  auto now = patched(before, delta);
  if (now.checksums() != wanted.checksums)
    throw std::runtime_error("its delta leads elsewhere");
  return now;
}

void warn(std::uint32_t version, const std::string& line) {
  telemetry::log_warning("weights", "version " + std::to_string(version) + ": " + line);
}

} // namespace

/// What was asked of `pull`, and what is there for it.
struct version_pulls::asked_version : std::enable_shared_from_this<asked_version> {
  std::uint32_t version = 0;
  weight_shares from;
  std::chrono::milliseconds timeout{};
  std::function<void(pulled_weights pulled, std::string error)> done;
  transport::data_plane& data; ///< alive: it calls these handlers
  std::shared_ptr<newest_version> newest;
  std::shared_ptr<kept_base> base;
  poster aside;

  asked_version(transport::data_plane& plane) : data(plane) {}

  /// @param keeps what comes, for the next version's delta
  void pull_whole(bool keeps) {
    pull_weights(data, from, timeout,
                 [self = shared_from_this(), keeps](pulled_weights pulled, const std::string& error) {
                   if (keeps && self->newest && pulled.shares.size() == 1)
                     self->newest->keep(self->version, pulled.shares.front());
                   self->done(std::move(pulled), error);
                 });
  }

  void pull_part() {
    if (base && from.adapter.id != 0 && !base->useless)
      return pull(from.adapter, [](asked_version& self, const transport::bundle& adapter) { self.merge(adapter); });
    auto before = newest && from.delta.id != 0 ? newest->of(from.since) : std::nullopt;
    if (!before)
      return pull_whole(true);
    pull(from.delta, [before = std::move(*before)](asked_version& self, const transport::bundle& delta) {
      self.patch(before, delta);
    });
  }

  /// @param use on the thread of `aside`
  void pull(const ticket& part, const std::function<void(asked_version& self, const transport::bundle& part)>& use) {
    data.pull(part, timeout, [self = shared_from_this(), use](transport::pull_result came) {
      if (!came) // it may have gone with its version: then the version says so
        return self->pull_whole(true);
      self->aside([self, use, came = std::move(came.value)] { use(*self, came); });
    });
  }

  void merge(const transport::bundle& adapter) {
    if (!base->model)
      return pull_whole(true);
    pulled_weights pulled;
    try {
      pulled.shares.push_back(base->model->merged(adapter, from.tickets.front()));
    } catch (const std::exception& wrong) {
      warn(version, std::string(wrong.what()) + ": all of it is pulled, and of every later version");
      base->useless = true;
      base->model.reset();
      return pull_whole(true);
    }
    done(std::move(pulled), {});
  }

  void patch(const transport::bundle& before, const transport::bundle& delta) {
    pulled_weights pulled;
    try {
      pulled.shares.push_back(led_to(before, delta, from.tickets.front()));
    } catch (const std::exception& wrong) {
      warn(version, std::string(wrong.what()) + ": all of it is pulled");
      return pull_whole(true);
    }
    newest->keep(version, pulled.shares.front());
    done(std::move(pulled), {});
  }
};

version_pulls::version_pulls(transport::data_plane& data, parts what, poster aside)
    : data_(data), newest_(what.deltas ? std::make_shared<newest_version>() : nullptr),
      base_(what.base.empty() ? nullptr : std::make_shared<kept_base>(std::move(what.base))), aside_(std::move(aside)) {
}

void version_pulls::pull(std::uint32_t version, const weight_shares& from, std::chrono::milliseconds timeout,
                         std::function<void(pulled_weights pulled, std::string error)> done) {
  const auto asked = std::make_shared<asked_version>(data_);
  asked->version = version;
  asked->from = from;
  asked->timeout = timeout;
  asked->done = std::move(done);
  asked->newest = newest_;
  asked->base = base_;
  asked->aside = aside_;
  if ((!newest_ && !base_) || from.tickets.size() != 1)
    return asked->pull_whole(false);
  data_.ask_if_read_in_place(from.tickets.front().owner, [asked](bool in_place) {
    if (in_place)
      asked->pull_whole(false);
    else
      asked->pull_part();
  });
}

} // namespace millrace::columns
