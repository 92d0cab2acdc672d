#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <span>
#include <string>
#include <vector>

namespace millrace::collective {

/// Tensors from the device of one rank to those of others, past the memory of the hosts. One thread uses it.
///
/// A call returns at once, and `ended` says when the work is done. Nobody is told that another rank is gone: whoever
/// uses it has a deadline, and hears of deaths elsewhere.
class device_wire {
public:
  virtual ~device_wire() = default; ///< waits for no other rank

  /// Where the tensors lie.
  virtual at::Device device() const = 0;

  /// Begins to send outgoing[r] to rank r and to receive incoming[r] from it, behind what this thread's stream of the
  /// device has to do. Tensors are as `group::exchange` wants them, on `device`; keep them until it has ended.
  /// @throws lost
  virtual void start(std::span<const at::Tensor> outgoing, std::span<const at::Tensor> incoming) = 0;

  /// @returns whether all that began has come to its end: at first the connection, later what `start` began
  /// @throws lost
  virtual bool ended() = 0;

  /// Gives up what is under way. The wire is of no use any more.
  virtual void abort() = 0;
};

/// What a rank tells the others of itself before they choose their wire.
struct device_facts {
  std::string device;  ///< for people: "cuda:1"
  std::string gpu;     ///< what no other GPU is called; "": it computes elsewhere
  std::string library; ///< with its version: "NCCL 2.28.9"; "": this program has none
};

/// Why ranks do not send each other tensors from device to device. @param ranks what each said, by rank
/// @returns one line; "" if they can
std::string why_not_direct(std::span<const device_facts> ranks);

/// The device of a rank, and how it is connected to those of the others.
class device_port {
public:
  virtual ~device_port() = default;
  virtual device_facts facts() const = 0;

  /// What the other ranks need to find the first one, which calls this.
  virtual std::string invitation() const = 0;

  /// Begins to connect; every rank calls it. @throws lost
  virtual std::unique_ptr<device_wire> connect(int rank, int size, const std::string& invitation) const = 0;
};

/// The port of a device: NCCL's if it is a GPU and this program has NCCL, else one that only knows its facts.
std::shared_ptr<const device_port> port_of(at::Device device);

} // namespace millrace::collective
