#pragma once

#include "actors/column_set.hpp"
#include "actors/continuation.hpp"
#include "actors/role_context.hpp"
#include "actors/stage.hpp"

#include <caf/typed_event_based_actor.hpp>

#include <functional>
#include <map>
#include <memory>
#include <string>

namespace millrace::actors {

/// What a stage makes of a group.
struct stage_result {
  transport::bundle added;
  std::map<std::string, double> summary; ///< as in `group_columns`
  std::string complaint;                 ///< as in `group_columns`
  std::string error;                     ///< not empty: it failed, another attempt may not
};

/// The work of a stage, with no actor in sight: columns in, columns out.
class stage_work {
public:
  virtual ~stage_work() = default;

  /// Starts on a group and returns at once; heavy work runs on threads of its own.
  /// @param columns at least those that the role's kind reads
  /// @param done    called exactly once, on any thread, at once or later; not at all if this throws
  virtual void process(const process_group& group, column_set columns, std::function<void(stage_result)> done) = 0;
};

using stage_shell = stage_actor::extend<caf::reacts_to<continuation>>;

struct stage_shell_state {
  static constexpr const char* name = "stage";
  std::shared_ptr<stage_work> work;
};

/// The actor around any `stage_work`: pulls the columns that the role reads, has them worked on, publishes what is added.
/// A group that cannot be pulled or worked on is answered with an error line. Stopped: open groups stay unanswered (the
/// coordinator sees this actor's end). Overloaded: groups queue in the work's own threads.
stage_shell::behavior_type make_stage(stage_shell::stateful_pointer<stage_shell_state> self, role_context context,
                                      std::shared_ptr<stage_work> work);

} // namespace millrace::actors
