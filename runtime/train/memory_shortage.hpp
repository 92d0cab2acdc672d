#pragma once

#include "runtime/model/activations.hpp"
#include "runtime/train/micro_batches.hpp"
#include "runtime/train/training_group.hpp"

#include <c10/core/Device.h>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace millrace::train {

/// How much memory a failed allocation wanted, in words ("1.50 GiB"; "" where it does not say); nothing where the
/// failure is another one. Allocations fail as `std::bad_alloc`, as `c10::OutOfMemoryError`, on the CPU as a
/// `c10::Error` of LibTorch's default allocator, and within oneDNN's products of matrices as a `dnnl::error`.
std::optional<std::string> memory_wanted(const std::exception& failure);

/// What nobody uses goes back: of the heap and of spare memory to the system, of LibTorch's cache to the device.
void give_memory_back(at::Device device);

/// Memory ran out over a task. The ranks have ended its round together. The sum of gradients means nothing, and
/// parameters are as they were.
struct memory_ran_out : std::runtime_error {
  memory_ran_out(std::size_t place, std::string bytes)
      : std::runtime_error("memory ran out"), task(place), wanted(std::move(bytes)) {}

  std::size_t task;   ///< its place among the tasks of the call
  std::string wanted; ///< as `memory_wanted` says it
};

/// Memory ran out over what cannot be cut. One line says where, and what would help.
struct too_large : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Does a work, and where memory runs out over it, gives back what nobody uses and does it once more.
/// @param over what memory runs out over, for people @throws too_large where it does so again
template <class Work>
auto again_with_memory_given_back(at::Device device, const std::string& over, Work work) {
  try {
    return work();
  } catch (const std::exception& failure) {
    if (!memory_wanted(failure))
      throw;
  }
  give_memory_back(device);
  try {
    return work();
  } catch (const std::exception& failure) {
    const auto wanted = memory_wanted(failure);
    if (!wanted)
      throw;
    throw too_large("memory ran out over " + over + (wanted->empty() ? "" : " (" + *wanted + " more were wanted)")
                    + ", twice; want more memory, or fewer or smaller roles in it");
  }
}

/// Does a step's work. @throws too_large with the step's number before it
template <class Work>
auto naming_step(std::uint64_t step, Work work) {
  try {
    return work();
  } catch (const too_large& why) {
    throw too_large("step " + std::to_string(step) + ": " + why.what());
  }
}

/// What a pass takes at a time: a learner makes it smaller each time memory runs out, and never larger again.
///
/// First micro-batches are computed one after another, and then the blocks' activations again for the gradient, neither
/// of which changes a number. Then a micro-batch is fed half of what was too much. Its gradients are then those of a
/// learner whose `micro_batch_tokens` is that half: the same numbers, added up in another order.
class memory_bound {
public:
  memory_bound(model::activations kept, std::int64_t micro_batch_tokens, int at_once = 1)
      : option_(micro_batch_tokens), tokens_(micro_batch_tokens), activations_(kept), at_once_(at_once) {}

  model::activations activations() const { return activations_; }

  int at_once() const { return at_once_; } ///< micro-batches

  std::int64_t tokens() const { return tokens_; } ///< that a micro-batch is fed at most

  /// Micro-batches, one a task, in the order of the tasks.
  struct tried {
    std::span<const training_group> groups; ///< that they are cut of
    std::vector<const micro_batch*> batches = {};
    bool goes_back = true;     ///< gradients are computed
    bool whole_groups = false; ///< groups are never cut
    bool may_cut = true;       ///< false: a replay, whose record says how they are cut
  };

  /// Does `once`, again each time memory ran out in a `within`. What `once` has summed up means nothing then, so it
  /// begins with a new sum.
  template <class Once>
  auto repeat(Once once) {
    for (;;)
      try {
        return once();
      } catch (const begin_again&) {
      }
  }

  /// Computes tasks as a part of what is repeated. @param compute throws `memory_ran_out`
  template <class Compute>
  auto within(const tried& what, Compute compute) {
    try {
      return compute();
    } catch (const memory_ran_out& why) {
      tighten(why, what);
      throw begin_again();
    }
  }

  /// Makes the next pass smaller. @throws too_large where that is impossible
  void tighten(const memory_ran_out& why, const tried& what);

  /// What `tighten` has done since the last call.
  struct lesson {
    std::int64_t times = 0;
    std::string line; ///< for people; "": nothing
  };

  lesson take_lesson() { return std::exchange(lesson_, {}); }

  /// Writes what was learned, if anything was, into a folder.
  void save(const std::filesystem::path& folder) const;

  /// Reads it, if it is there. It counts no more where `micro_batch_tokens` is another one now.
  /// @throws input_error for a file that `save` did not write
  void load(const std::filesystem::path& folder);

private:
  struct begin_again {};

  std::int64_t option_, tokens_;
  model::activations activations_;
  int at_once_;
  lesson lesson_;
};

} // namespace millrace::train
