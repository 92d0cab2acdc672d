#pragma once

#include "runtime/collective/device_wire.hpp"
#include "runtime/collective/group.hpp"

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace millrace::collective {

/// Ranks whose tensors on devices go over a `device_wire`, and all else over another group.
///
/// First go the tensors on devices. Then comes an exchange of the other group, with the tensors on the CPU or with
/// none: it is the farewell, so CO-1 holds whatever travelled, and a rank that finds no tensors on devices in its lists
/// needs not know whether others do. CO-2 holds for the devices' part as far as `abort` is called: a death is heard of
/// elsewhere.
class device_group : public group {
public:
  /// @param within each exchange's part on devices ends by then
  device_group(std::unique_ptr<group> host, std::chrono::milliseconds within);
  ~device_group() override;

  /// Connects the devices; every rank calls it, before any exchange. @throws lost
  void connect(const device_port& port, std::chrono::milliseconds within);

  int rank() const override { return host_->rank(); }

  int size() const override { return host_->size(); }

  at::Device device() const override;

  void exchange(std::span<const at::Tensor> outgoing, std::span<const at::Tensor> incoming) override;
  void abort(const std::string& why) override;
  std::optional<waiting> waits() const override;

private:
  /// The tensors of an exchange by the way they go, at the places that they have in it; undefined: not that way.
  struct two_ways {
    std::vector<at::Tensor> direct, over_hosts;
  };

  void wait_for_wire(const std::string& what, std::vector<int> on, std::chrono::milliseconds within);
  void carry(std::span<const at::Tensor> outgoing, std::span<const at::Tensor> incoming);
  two_ways parted(std::span<const at::Tensor> tensors, const std::string& which) const;

  std::unique_ptr<group> host_;
  const std::chrono::milliseconds within_;
  std::unique_ptr<device_wire> wire_; ///< nullptr: not connected
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<waiting> now_;
  std::optional<std::string> ended_;
};

} // namespace millrace::collective
