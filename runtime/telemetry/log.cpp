#include "runtime/telemetry/log.hpp"

#include "runtime/formats/quoted.hpp"
#include "runtime/telemetry/printed.hpp"
#include "runtime/telemetry/trace.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <utility>

namespace millrace::telemetry {
namespace {

constexpr std::string_view clear_line = "\r\x1b[K";

std::string_view word(level l) {
  switch (l) {
  case level::debug:
    return "debug";
  case level::info:
    return "info";
  case level::warning:
    return "warning";
  case level::error:
    return "error";
  }
  return "";
}

enum class colours { off, on };

std::string head(double at_s, level l, std::string_view role, colours shown) {
  const std::string padded = printed("%-7s", word(l).data());
  return printed("%10.3f ", at_s) + (shown == colours::on ? coloured(l, padded) : padded)
         + printed(" %-12.*s ", static_cast<int>(std::min<std::size_t>(role.size(), 64)), role.data());
}

/// Every line of `text` with a head, control characters made visible.
std::string lines_of(const std::string& line_head, std::string_view text) {
  std::string lines = line_head;
  for (const char c : formats::printable_lines(text)) {
    lines += c;
    if (c == '\n')
      lines += line_head;
  }
  return lines + "\n";
}

std::size_t terminal_columns(int descriptor_number) {
  winsize size{};
  return ::ioctl(descriptor_number, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col : 80;
}

} // namespace

bool shows_colour(int descriptor_number) {
  const auto set = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string_view{value ? value : ""};
  };
  return descriptor_number >= 0 && ::isatty(descriptor_number) == 1 && set("NO_COLOR").empty() && set("TERM") != "dumb";
}

std::string coloured(level l, std::string_view text) {
  const std::string_view start = l == level::warning ? "\x1b[33m" : l == level::error ? "\x1b[31m" : "";
  return std::string{start} + std::string{text} + (start.empty() ? "" : "\x1b[0m");
}

logger::logger(int descriptor_number)
    : people_{descriptor_number}, terminal_{descriptor_number >= 0 && ::isatty(descriptor_number) == 1},
      colour_{shows_colour(descriptor_number)}, start_s_{now_s()} {
}

void logger::open(const std::filesystem::path& path) {
  run_files::growing_file file(path);
  const std::lock_guard lock{mutex_};
  file_.emplace(std::move(file));
  refused_ = false;
}

void logger::show_from(level least) {
  const std::lock_guard lock{mutex_};
  least_ = least;
}

void logger::write(level l, std::string_view role, std::string_view text) {
  const std::lock_guard lock{mutex_};
  const double at_s = now_s() - start_s_;
  const std::string lines = lines_of(head(at_s, l, role, colours::off), text);
  if (l >= least_)
    show(colour_ ? lines_of(head(at_s, l, role, colours::on), text) : lines);
  keep(lines);
}

void logger::note(level l, std::string_view role, std::string_view text) {
  const std::lock_guard lock{mutex_};
  keep(lines_of(head(now_s() - start_s_, l, role, colours::off), text));
}

/// With `mutex_` held.
void logger::keep(const std::string& lines) {
  if (!file_)
    return;
  try {
    file_->append(lines);
    refused_ = false;
  } catch (const run_files::storage_error& failure) {
    if (!std::exchange(refused_, true))
      show(lines_of(head(now_s() - start_s_, level::warning, "log", colour_ ? colours::on : colours::off),
                    std::string{failure.what()} + ": the lines are kept until there is room"));
  }
}

void logger::live_line(std::string_view text) {
  const std::lock_guard lock{mutex_};
  if (!terminal_)
    return;
  live_ = text.substr(0, terminal_columns(people_) - 1);
  show("");
}

void logger::say(std::string_view text) {
  const std::lock_guard lock{mutex_};
  show(formats::printable_lines(text) + "\n");
}

/// With `mutex_` held. People's terminal may be gone: then nobody is told.
void logger::show(std::string_view lines) {
  if (people_ < 0)
    return;
  std::string all;
  if (terminal_)
    all = clear_line;
  all += lines;
  if (terminal_)
    all += live_;
  std::string_view rest = all;
  while (!rest.empty()) {
    const ssize_t written = ::write(people_, rest.data(), rest.size());
    if (written <= 0 && errno != EINTR)
      return;
    rest.remove_prefix(static_cast<std::size_t>(std::max<ssize_t>(written, 0)));
  }
}

logger& process_log() {
  static auto* const shared = new logger; // never destroyed: threads may outlive main's end
  return *shared;
}

} // namespace millrace::telemetry
