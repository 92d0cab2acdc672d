#include "runtime/telemetry/trace_file.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
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
    json event{{"ph", "X"},
               {"pid", pid},
               {"tid", track},
               {"name", s.name},
               {"cat", s.category},
               {"ts", in_us(s.start_s - zero_s)},
               {"dur", in_us(s.duration_s)}};
    for (const auto& [name, value] : s.args)
      event["args"][name] = value;
    put(out, event);
  }
  for (const auto& c : batch.counters)
    put(out, {{"ph", "C"},
              {"pid", pid},
              {"name", c.track + " " + c.name},
              {"ts", in_us(c.at_s - zero_s)},
              {"args", {{c.name, c.value}}}});
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
