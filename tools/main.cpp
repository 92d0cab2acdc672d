#include "runtime/cluster/grace.hpp"
#include "runtime/formats/quoted.hpp"
#include "runtime/pipeline/errors.hpp"
#include "runtime/run_files/storage.hpp"
#include "runtime/telemetry/log.hpp"
#include "runtime/words/input_error.hpp"
#include "tools/command_line.hpp"

#include <sys/prctl.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace {

/// OpenMP threads that wait for work spin by default, and on a machine whose cores several roles share that costs them
/// several times their speed. The C library by default gives threads up to eight arenas a core, and what is freed in
/// one is not used in another: a run's large tensors come and go on many threads. UCX by default catches crashes and
/// prints backtraces without end, takes SIGHUP for a debug mode, and writes its log to stdout. These libraries read
/// their environment once, when they are loaded: so set it and start again. That comes before any library's own set-up,
/// since LibTorch's takes a quarter of a second, and therefore does with what the system gives to a new process. What a
/// person has set stays. A process that was started as /proc/self/exe is called "exe" until it says otherwise.
void start_with_environment(int, char** argv, char** environment) {
  static char passive[] = "OMP_WAIT_POLICY=PASSIVE", few_arenas[] = "MALLOC_ARENA_MAX=2",
              no_handlers[] = "UCX_HANDLE_ERRORS=none", no_debug_signal[] = "UCX_DEBUG_SIGNO=0",
              log_to_people[] = "UCX_LOG_FILE=stderr";
  char* const defaults[] = {passive, few_arenas, no_handlers, no_debug_signal, log_to_people};
  const auto given = [environment](std::string_view assignment) {
    for (char** entry = environment; *entry != nullptr; ++entry)
      if (std::string_view(*entry).starts_with(assignment.substr(0, assignment.find('=') + 1)))
        return true;
    return false;
  };
  if (given(passive)) {
    prctl(PR_SET_NAME, "millrace");
    return;
  }
  std::vector<char*> more;
  for (char** entry = environment; *entry != nullptr; ++entry)
    more.push_back(*entry);
  for (char* assignment : defaults)
    if (!given(assignment))
      more.push_back(assignment);
  more.push_back(nullptr);
  execve("/proc/self/exe", argv, more.data()); // if the system refuses, everything works, only slower
}

[[gnu::section(".preinit_array"), gnu::used]] void (*const before_libraries)(int, char**,
                                                                             char**) = start_with_environment;

int run(int argc, char** argv) {
  namespace t = millrace::tools;
  const std::vector<t::command> commands{
      t::run_command(),       t::resume_command(), t::check_command(),    t::metrics_command(),
      t::graph_command(),     t::plan_command(),   t::schedule_command(), t::status_command(),
      t::report_command(),    t::replay_command(), t::convert_command(),  t::generate_command(),
      t::evaluate_command(),  t::score_command(),  t::serve_command(),    t::tokenize_command(),
      t::algorithm_command(), t::node_command(),   t::worker_command(),   t::view_command(),
      t::verify_command(),    t::job_command(),    t::slurm_command(),    t::kubernetes_command(),
      t::launch_command()};
  const t::program millrace{
      .name = "millrace",
      .help = "Millrace trains reasoning models with asynchronous reinforcement learning: a pipeline is a TOML file.",
      .version = MILLRACE_VERSION};
  return t::run_command_line(millrace, commands, argc, argv);
}

/// Says why the program ends, its beginning in red where that may be. What is outside of the program stands in these
/// lines: names of files, pieces of them.
int ended(int status, const std::string& head, const std::string& why) {
  namespace telemetry = millrace::telemetry;
  const bool colour = telemetry::shows_colour(STDERR_FILENO) && !head.empty();
  std::fprintf(stderr, "%s%s%s\n", colour ? telemetry::coloured(telemetry::level::error, head).c_str() : head.c_str(),
               head.empty() ? "" : " ", millrace::formats::printable_lines(why).c_str());
  return status;
}

/// @returns the exit status
int run_and_say(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const millrace::pipeline::pipeline_errors& errors) {
    return ended(1, "", errors.what()); // each line begins with file:line:column
  } catch (const millrace::input_error& error) {
    return ended(1, "millrace:", error.what());
  } catch (const std::filesystem::filesystem_error& error) { // a path that was given, or stands in what was given
    return ended(1, "millrace:", error.what());
  } catch (const millrace::run_files::storage_error& error) {
    return ended(1, "millrace:", error.what());
  } catch (const std::exception& error) {
    return ended(70, "millrace: internal error:", error.what());
  }
}

} // namespace

int main(int argc, char** argv) {
  const int status = run_and_say(argc, argv);
  std::fflush(nullptr); // what was said is said, also where the libraries' end takes longer than its grace
  millrace::cluster::end_within(millrace::cluster::parting_grace, status); // libraries' last words may hang
  return status;
}
