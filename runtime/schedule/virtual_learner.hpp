#pragma once

#include "runtime/schedule/workload.hpp"

#include <cstdint>
#include <optional>

namespace millrace::schedule {

/// One update of a step.
struct virtual_update {
  std::uint32_t step = 0;
  std::uint32_t part = 0;
  bool ends_step = true;
};

/// The learner under virtual time. It does one thing after another, as asked: copies of its weights, checkpoints,
/// updates; an update goes on more slowly while groups are generated.
class virtual_learner {
public:
  explicit virtual_learner(const workload& costs) : costs_(&costs) {}

  /// An update that takes `seconds` with nothing beside it. None is under way.
  void take(const virtual_update& update, double seconds, double now_s);
  /// A version is asked for; the first time the learner copies it. @returns when it is there
  double publish(version_id version, double now_s);
  /// @returns when the checkpoint is written
  double save(double now_s);
  /// Updates take so many times as long from now on. @returns whether that changes when one under way ends
  bool slow_down(double now_s, double times);

  /// When the update begins or, once it has begun, ends as things are; infinity: there is none.
  double next_s() const;
  /// The update begins, or ends: at `next_s()`. @returns it when it has ended
  std::optional<virtual_update> go_on(double now_s);

  bool computes() const { return update_ && began_; }

  bool has_update() const { return update_.has_value(); } ///< begun or not

  struct shares {
    double compute = 0;
    double transfer = 0;
    double saving = 0;
  };

  /// Seconds by what it does from `from_s` to `until_s`, a time in which nothing is asked of it.
  shares busy(double from_s, double until_s) const;

  std::uint64_t planned = 0; ///< stamp of the agenda's entry that counts

private:
  const workload* costs_;
  std::optional<virtual_update> update_;
  bool began_ = false;
  bool warm_ = false;
  double times_ = 1;
  double left_s_ = 0;   ///< of the update, with nothing beside it
  double at_s_ = 0;     ///< of left_s_
  double copied_s_ = 0; ///< it copies until then
  double saved_s_ = 0;  ///< it writes until then
  std::optional<version_id> copied_;
};

} // namespace millrace::schedule
