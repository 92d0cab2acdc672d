#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace millrace::collective {

/// An exchange that did not come about: a rank that is gone, an abort, a deadline. The group is of no use any more:
/// destroy it soon, since a thread of its may be busy with what others still send.
class lost : public std::runtime_error {
public:
  using std::runtime_error::runtime_error;
};

/// The ranks of one learner as one of them sees them.
///
/// Invariants
/// - CO-1: an exchange ends on a rank only when every rank has all its bytes. So who leaves after an exchange harms
///   nobody.
/// - CO-2: a rank whose process ends, or that destroys its group in mid-exchange, ends the exchange of all others.
/// - CO-3: after `lost`, every later exchange of this group is lost for the same reason.
class group {
public:
  virtual ~group() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;

  /// Where this rank's tensors may lie beside the CPU: a GPU where they go from GPU to GPU, else the CPU.
  virtual at::Device device() const { return at::kCPU; }

  /// Sends outgoing[r] to rank r and receives incoming[r] from it.
  ///
  /// @param outgoing size() tensors: contiguous, on the CPU or on `device`; undefined or empty = nothing travels. The
  ///                 own entry is ignored. @param incoming likewise; what one rank sends is as long, in bytes, as what
  ///                 the other expects, and lies on the CPU on both or on neither
  /// All ranks call in the same order, one exchange at a time.
  /// @throws lost @throws std::invalid_argument if a tensor is not as said above
  virtual void exchange(std::span<const at::Tensor> outgoing, std::span<const at::Tensor> incoming) = 0;

  /// Ends the exchange under way and all later ones with `lost(why)`, at once. Any thread.
  virtual void abort(const std::string& why) = 0;

  struct waiting {
    std::vector<int> on; ///< ranks, those that are furthest behind
    double since_s = 0;  ///< std::chrono::steady_clock, as telemetry has it
  };

  /// Whom the exchange under way still waits for. @returns nothing if none is under way. Any thread.
  virtual std::optional<waiting> waits() const = 0;
};

/// `own` of every rank, in the order of ranks. @param own [lengths[rank], ...], on the CPU or on the group's device
/// @param lengths elements along dim 0, one number a rank; dtype and the other dimensions are the same everywhere
/// @throws lost @throws std::invalid_argument if `own` is not as long as said
std::vector<at::Tensor> gather(group& ranks, const at::Tensor& own, std::span<const std::int64_t> lengths);

} // namespace millrace::collective
