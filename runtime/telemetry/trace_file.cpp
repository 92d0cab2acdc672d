#include "runtime/telemetry/trace_file.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

namespace millrace::telemetry {
namespace {

using json = nlohmann::ordered_json;

void put(std::string& out, const json& event) {
  out += event.dump(-1, ' ', false, json::error_handler_t::replace);
  out += ",\n";
}

json metadata(std::int64_t pid, int track, std::string_view what, std::string_view key, const json& value) {
  return {{"ph", "M"}, {"pid", pid}, {"tid", track}, {"name", what}, {"args", {{key, value}}}};
}

/// Microseconds with the nanoseconds behind the point.
double in_us(double seconds) {
  return std::round(seconds * 1e9) / 1e3;
}

/// Writes one event. A run writes thousands a second, so none is made a JSON value first.
class event_line {
public:
  event_line(std::string& out, std::string_view kind, std::int64_t pid) : out_(out) {
    out_ += "{\"ph\":\"";
    out_ += kind;
    out_ += "\",\"pid\":" + std::to_string(pid);
  }

  event_line& field(std::string_view name, std::string_view words) {
    key(name);
    put_words(words);
    return *this;
  }

  event_line& field(std::string_view name, double number) {
    key(name);
    put_number(number);
    return *this;
  }

  event_line& track(int number) {
    key("tid");
    out_ += std::to_string(number);
    return *this;
  }

  /// Named numbers, as `args`; `end` must follow.
  event_line& arg(std::string_view name, double value) {
    if (!has_args_)
      out_ += ",\"args\":{";
    else
      out_ += ',';
    has_args_ = true;
    put_words(name);
    out_ += ':';
    put_number(value);
    return *this;
  }

  void end() { out_ += has_args_ ? "}},\n" : "},\n"; }

private:
  void key(std::string_view name) {
    out_ += ",\"";
    out_ += name;
    out_ += "\":";
  }

  void put_words(std::string_view words) {
    const bool plain =
        std::all_of(words.begin(), words.end(), [](char c) { return c >= ' ' && c <= '~' && c != '"' && c != '\\'; });
    if (!plain) {
      out_ += json(words).dump(-1, ' ', false, json::error_handler_t::replace);
      return;
    }
    out_ += '"';
    out_ += words;
    out_ += '"';
  }

  void put_number(double number) {
    if (!std::isfinite(number)) { // JSON has no such number
      out_ += "null";
      return;
    }
    std::array<char, 32> digits;
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
    out_.append(digits.data(), end);
  }

  std::string& out_;
  bool has_args_ = false;
};

} // namespace

trace_file::trace_file(std::filesystem::path path, double start_s, std::uint64_t max_bytes)
    : file_{std::move(path)}, start_s_{start_s}, bytes_left_{max_bytes} {
  file_.append("[\n");
}

trace_file::~trace_file() {
  try {
    file_.append("{\"ph\":\"M\",\"pid\":0,\"name\":\"end\",\"args\":{}}\n]\n");
  } catch (const run_files::storage_error&) { // an array without its end opens as well
    return;
  }
}

void trace_file::add(const trace_batch& batch, std::int64_t pid, std::string_view process_name, double clock_offset_s) {
  std::string out;
  const double zero_s = start_s_ - clock_offset_s;
  for (const auto& s : batch.spans) {
    const int track = track_number(pid, process_name, s.track, out);
    event_line event(out, "X", pid);
    event.track(track).field("name", s.name).field("cat", s.category);
    event.field("ts", in_us(s.start_s - zero_s)).field("dur", in_us(s.duration_s));
    for (const auto& [name, value] : s.args)
      event.arg(name, value);
    event.end();
  }
  for (const auto& c : batch.counters) {
    event_line event(out, "C", pid);
    event.field("name", c.track + " " + c.name).field("ts", in_us(c.at_s - zero_s)).arg(c.name, c.value).end();
  }
  if (out.empty() || bytes_left_ == 0)
    return;
  bytes_left_ -= std::min<std::uint64_t>(bytes_left_, out.size());
  if (bytes_left_ == 0)
    put(out, {{"ph", "i"},
              {"s", "g"},
              {"pid", pid},
              {"tid", 0},
              {"name", "the trace is full"},
              {"ts", in_us(now_s() - start_s_)}});
  file_.append(out);
}

int trace_file::track_number(std::int64_t pid, std::string_view process_name, const std::string& track,
                             std::string& out) {
  const auto known = tracks_.find({pid, track});
  if (known != tracks_.end())
    return known->second;
  const auto first_of_process = tracks_.lower_bound({pid, ""});
  if (first_of_process == tracks_.end() || first_of_process->first.first != pid)
    put(out, metadata(pid, 0, "process_name", "name", process_name));
  const int number = static_cast<int>(tracks_.size()) + 1;
  put(out, metadata(pid, number, "thread_name", "name", track));
  tracks_.emplace(std::pair{pid, track}, number);
  return number;
}

} // namespace millrace::telemetry
