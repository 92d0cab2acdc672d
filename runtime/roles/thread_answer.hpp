#pragma once

#include "runtime/roles/abilities.hpp"
#include "runtime/roles/job_thread.hpp"
#include "runtime/telemetry/trace.hpp"
#include "runtime/words/role_instance.hpp"

#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace millrace::roles {

/// How a job stands in the trace.
struct traced_job {
  std::string track;      ///< name of the role
  std::string what;       ///< "train step 3"
  std::string_view cause; ///< of `telemetry::cause`
};

/// Runs `compute` and hands its result, or the line of what it throws, to `done`.
template <class Answer, class Compute>
void answer_now(const answer_to<Answer>& done, Compute compute) {
  Answer answer;
  std::string error;
  try {
    answer = compute();
  } catch (const std::exception& failure) {
    error = failure.what();
  }
  done(std::move(answer), std::move(error));
}

/// The same on `thread`, as a span of the trace.
template <class Answer, class Compute>
void answer_from(job_thread& thread, traced_job job, answer_to<Answer> done, Compute compute) {
  thread.post([job = std::move(job), done = std::move(done), compute = std::move(compute)]() mutable {
    answer_now<Answer>(done, [&] {
      const telemetry::timed span(telemetry::process_trace(), job.track, job.what, job.cause);
      return compute();
    });
  });
}

/// Writes a role's state on its thread and says how long that took. @param write gets the folder
template <class Write>
void write_state(job_thread& thread, const role_instance& who, const write_checkpoint& ask,
                 answer_to<checkpoint_written> done, Write write) {
  answer_from<checkpoint_written>(thread,
                                  {.track = who.name(), .what = "checkpoint", .cause = telemetry::cause::storage},
                                  std::move(done), [folder = ask.folder, write = std::move(write)] {
                                    const double start = telemetry::now_s();
                                    write(folder);
                                    return checkpoint_written{.folder = folder, .seconds = telemetry::now_s() - start};
                                  });
}

/// Writes the state of a core while its thread goes on with other jobs. In the trace stands the time for which the
/// thread stood still.
template <class Core>
void write_state_beside(job_thread& thread, job_thread& storage, const role_instance& who, const write_checkpoint& ask,
                        answer_to<checkpoint_written> done, std::shared_ptr<Core> core) {
  const double start = telemetry::now_s();
  const auto ended = [done, core, folder = ask.folder, start] {
    answer_now<checkpoint_written>(done, [&] {
      core->end_checkpoint();
      return checkpoint_written{.folder = folder, .seconds = telemetry::now_s() - start};
    });
  };
  thread.post([core, track = who.name(), folder = ask.folder, done, ended, later = storage.weak_poster(),
               back = thread.weak_poster()] {
    try {
      const telemetry::timed span(telemetry::process_trace(), track, "checkpoint", telemetry::cause::storage);
      later([ended, back, writing = core->begin_checkpoint(folder)] {
        writing.wait();
        back(ended);
      });
    } catch (const std::exception& failure) {
      done({}, failure.what());
    }
  });
}

} // namespace millrace::roles
