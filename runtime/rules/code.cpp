#include "runtime/rules/code_driver.hpp"
#include "runtime/rules/code_match.hpp"
#include "runtime/rules/code_tests.hpp"
#include "runtime/rules/code_text.hpp"
#include "runtime/rules/rule.hpp"
#include "runtime/sandbox/sandbox.hpp"
#include "runtime/words/input_error.hpp"

#include <algorithm>
#include <charconv>
#include <random>

namespace millrace::rules {

extern const rule_type code;

namespace {

constexpr std::string_view started = "ready\n"; ///< what the driver says before anything of the answer runs
constexpr std::string_view broken = "broken ";  ///< in its place: the row's own tests do not work
constexpr std::int64_t frame_bytes = 64, words_bytes = 4096, most_frames_bytes = std::int64_t{256} << 20;

struct code_settings {
  bool fenced = true, all = false;
  std::string python;
  std::vector<std::string> folders;
  std::size_t most_tests = 0, slots = 1;
  std::chrono::milliseconds test{}, total{};
  sandbox::bounds most; ///< of one test; `time` is not
};

/// How one test ended, as the driver says it.
struct test_end {
  std::string_view how;   ///< exit, error, time, output
  std::string_view wrote; ///< what counts of what the program wrote
};

void add_field(std::string& to, std::string_view text) {
  to += std::to_string(text.size()) + '\n';
  to += text;
}

/// What a passed test of assert says: a program cannot say it by ending early or by printing it.
std::string token() {
  std::random_device random;
  return std::to_string(random()) + "-" + std::to_string(random());
}

std::string_view word_of(test_kind kind) {
  return kind == test_kind::input ? "stdin" : kind == test_kind::call ? "call" : "assert";
}

/// What the driver says of each test, as far as it came.
std::vector<test_end> ends_in(std::string_view said) {
  std::vector<test_end> found;
  for (said.remove_prefix(started.size()); !said.empty();) {
    const auto line = said.substr(0, said.find('\n'));
    const auto space = line.find(' ');
    std::size_t length = 0;
    if (line.size() == said.size() || space == std::string_view::npos
        || std::from_chars(line.data() + space + 1, line.data() + line.size(), length).ec != std::errc())
      break;
    said.remove_prefix(line.size() + 1);
    if (said.size() < length)
      break;
    found.push_back({line.substr(0, space), said.substr(0, length)});
    said.remove_prefix(length);
  }
  return found;
}

std::string last_line(std::string_view text) {
  text = text.substr(0, text.find_last_not_of('\n') + 1);
  return std::string(text.substr(text.rfind('\n') + 1));
}

class code_rule final : public rule {
public:
  explicit code_rule(code_settings settings) : settings_(std::move(settings)), sandbox_(settings_.slots) {}

  score evaluate(const rule_input& input) const override {
    code_tests tests;
    try {
      tests = tests_in(input.answer);
    } catch (const input_error& error) {
      return score::invalid(error.what());
    }
    const auto program = settings_.fenced ? program_in(input.text) : std::string(input.text);
    if (program.empty())
      return scored(tests, {}, "");
    const auto secret = token();
    try {
      const auto ran = sandbox_.run(job_of(tests, program, secret));
      if (ran.out.starts_with(broken))
        return score::invalid("tests: found " + last_line(ran.out.substr(broken.size())));
      if (!ran.out.starts_with(started))
        return score::error(not_started(ran), failure_kind::refused);
      return scored(tests, ends_in(ran.out), secret);
    } catch (const sandbox::sandbox_failure& failure) {
      return score::error(failure.what(), failure.kind);
    }
  }

  std::string unusable() const override {
    if (auto why = sandbox_.unusable(); !why.empty())
      return why;
    try {
      const auto ran = sandbox_.run(job_of({}, "", ""));
      return ran.out == started ? "" : not_started(ran);
    } catch (const sandbox::sandbox_failure& failure) {
      return failure.what();
    }
  }

  std::chrono::milliseconds longest(std::size_t callers) const override {
    const auto rounds = static_cast<std::int64_t>((callers + settings_.slots - 1) / settings_.slots);
    return rounds * (settings_.total + 2 * sandbox::sandbox::start_up);
  }

  bool scores_expected_answer() const override { return false; } // it holds tests

  std::string unreadable(std::string_view answer) const override {
    try {
      read_code_tests(answer);
      return {};
    } catch (const input_error& error) {
      return error.what();
    }
  }

private:
  code_tests tests_in(std::string_view answer) const {
    auto tests = read_code_tests(answer);
    if (settings_.most_tests > 0 && tests.given.size() > settings_.most_tests)
      tests.given.resize(settings_.most_tests);
    return tests;
  }

  std::string not_started(const sandbox::outcome& ran) const {
    const auto line = last_line(ran.err);
    return "\"" + settings_.python + "\" does not run in the sandbox, where it sees /usr and `folders`: "
           + (line.empty() ? "it ended with status " + std::to_string(ran.status) : line);
  }

  sandbox::job job_of(const code_tests& tests, const std::string& program, const std::string& secret) const {
    sandbox::job what{.command = {settings_.python, "-I", "-c", code_driver_script},
                      .most = settings_.most,
                      .folders = settings_.folders};
    what.most.time = settings_.total;
    what.most.processes += 1; // the driver
    const auto frames = static_cast<std::int64_t>(tests.given.size()) * (settings_.most.output_bytes + frame_bytes);
    what.most.output_bytes = std::min(frames + words_bytes, most_frames_bytes);
    const auto seconds = std::to_string(static_cast<double>(settings_.test.count()) / 1000);
    const auto bytes = std::to_string(settings_.most.output_bytes);
    for (const std::string_view field :
         {word_of(tests.kind), std::string_view(seconds), std::string_view(bytes),
          std::string_view(settings_.all ? "stop" : ""), std::string_view(secret), std::string_view(program),
          std::string_view(tests.setup), std::string_view(tests.function)})
      add_field(what.input, field);
    for (const std::string& test : tests.given)
      add_field(what.input, test);
    return what;
  }

  /// A test without an end did not come to its turn: it failed.
  score scored(const code_tests& tests, const std::vector<test_end>& ends, std::string_view secret) const {
    std::size_t passed = 0, late = 0;
    for (std::size_t i = 0; i < std::min(ends.size(), tests.given.size()); ++i) {
      late += ends[i].how == "time";
      if (ends[i].how != "exit")
        continue;
      switch (tests.kind) {
      case test_kind::input:
        passed += same_output(ends[i].wrote, tests.expected[i].get_ref<const std::string&>());
        break;
      case test_kind::call:
        passed += same_result(ends[i].wrote, tests.expected[i]);
        break;
      case test_kind::assertion:
        passed += ends[i].wrote == secret;
        break;
      }
    }
    const auto count = static_cast<double>(tests.given.size());
    auto found = score::of(settings_.all ? passed == tests.given.size() : static_cast<double>(passed) / count);
    found.metrics = {{"tests", count}, {"passed", static_cast<double>(passed)}, {"late", static_cast<double>(late)}};
    return found;
  }

  code_settings settings_;
  sandbox::sandbox sandbox_;
};

std::unique_ptr<rule> make_code(const option_values& given) {
  const auto text = [&](const char* name) { return std::get<std::string>(given.at(name)); };
  const auto integer = [&](const char* name) { return std::get<std::int64_t>(given.at(name)); };
  code_settings settings{.fenced = text("extract") == "block",
                         .all = text("score") == "all",
                         .python = text("python"),
                         .folders = std::get<std::vector<std::string>>(given.at("folders")),
                         .most_tests = static_cast<std::size_t>(integer("most_tests")),
                         .slots = static_cast<std::size_t>(integer("slots")),
                         .test = std::chrono::milliseconds(integer("test_ms")),
                         .total = std::chrono::milliseconds(integer("total_ms")),
                         .most = {.memory_bytes = integer("memory_bytes"),
                                  .processes = integer("processes"),
                                  .file_bytes = integer("disk_bytes"),
                                  .disk_bytes = integer("disk_bytes"),
                                  .output_bytes = integer("output_bytes")}};
  for (const std::string& folder : settings.folders)
    if (!folder.starts_with('/'))
      throw input_error("rule code: folders: found \"" + folder + "\", want an absolute path");
  return std::make_unique<code_rule>(std::move(settings));
}

option whole(const char* name, std::int64_t fallback, double low, double high, const char* meaning) {
  return {.name = name, .fallback = fallback, .allowed = between(low, high), .meaning = meaning};
}

std::vector<option> code_options() {
  constexpr double most_bytes = 1099511627776;
  return {{.name = "language",
           .fallback = std::string(),
           .allowed = needed(one_of({"python"})),
           .meaning = "of the programs"},
          {.name = "extract",
           .fallback = std::string("block"),
           .allowed = one_of({"block", "text"}),
           .meaning = "where the program is: block = the last block fenced by ```python, else the last fenced block; "
                      "text = the whole answer"},
          {.name = "score",
           .fallback = std::string("share"),
           .allowed = one_of({"share", "all"}),
           .meaning = "share = of the tests that pass; all = 1 where all pass, else 0"},
          {.name = "python",
           .fallback = std::string("python3"),
           .allowed = any(),
           .meaning =
               "the interpreter, 3.9 or later, as the sandbox sees it: a path below /usr or `folders`, or a name "
               "to look for in /usr/local/bin and /usr/bin"},
          {.name = "folders",
           .fallback = std::vector<std::string>(),
           .allowed = any(),
           .meaning = "absolute paths of further folders that programs may read, for example one of Python packages"},
          whole("most_tests", 0, 0, 1e6, "tests of a row that are run, the first ones; 0 = all"),
          whole("test_ms", 5000, 1, 3600000, "milliseconds for one test; a program that takes longer fails it"),
          whole("total_ms", 30000, 1, 3600000,
                "milliseconds for all tests of an answer; those that do not come to their turn are failed"),
          whole("memory_bytes", 536870912, 67108864, most_bytes, "bytes of memory for each process (RLIMIT_AS)"),
          whole("processes", 16, 1, 4096, "processes and threads of a program at once"),
          whole("disk_bytes", 33554432, 1048576, most_bytes, "bytes of files in /tmp, and again in /dev/shm"),
          whole("output_bytes", 1048576, 1, 268435456, "bytes that a program may print in a test; more fails it"),
          whole("slots", 2, 1, 1024, "programs at once")};
}

} // namespace

const rule_type code{.name = "code",
                     .meaning = "the share of the row's tests that the program in the answer passes, in a sandbox",
                     .options = code_options(),
                     .make = make_code};

} // namespace millrace::rules
