#include "runtime/telemetry/metrics.hpp"

#include "runtime/formats/quoted.hpp"
#include "runtime/formats/strict_json.hpp"

#include <nlohmann/json.hpp>

#include <limits>

namespace millrace::telemetry {
namespace {

using json = nlohmann::ordered_json;

constexpr const char* step_key = "step";
constexpr const char* wall_key = "wall_s";
constexpr double most_step = 0x1p40; // a line that says more is damaged

std::string to_line(const metric_row& row) {
  json object{{step_key, row.step}, {wall_key, row.wall_s}};
  for (const auto& [name, value] : row.values)
    object[name] = value;
  return object.dump(-1, ' ', false, json::error_handler_t::replace);
}

} // namespace

std::optional<metric_row> parse_metric_row(std::string_view line) {
  const json object = formats::json_or_discarded<json>(line);
  const auto step = object.is_object() ? object.find(step_key) : object.end();
  if (step == object.end() || !step->is_number_integer() || step->get<double>() < 0 || step->get<double>() > most_step)
    return std::nullopt;
  metric_row row;
  for (const auto& [name, value] : object.items()) {
    if (name == step_key)
      row.step = value.get<std::int64_t>();
    else if (name == wall_key && value.is_number())
      row.wall_s = value.get<double>();
    else if (value.is_number())
      row.values.emplace_back(formats::printable(name), value.get<double>());
    else if (value.is_null())
      row.values.emplace_back(formats::printable(name), std::numeric_limits<double>::quiet_NaN());
    else
      return std::nullopt;
  }
  return row;
}

void metric_row::set(std::string_view name, double value) {
  for (auto& [known, old] : values) {
    if (known == name) {
      old = value;
      return;
    }
  }
  values.emplace_back(name, value);
}

std::optional<double> metric_row::get(std::string_view name) const {
  for (const auto& [known, value] : values)
    if (known == name)
      return value;
  return std::nullopt;
}

metrics_file::metrics_file(std::filesystem::path path, std::int64_t last_step) : lines_(std::move(path), last_step) {
}

void metrics_file::append(const metric_row& row) {
  lines_.append(to_line(row));
}

std::vector<metric_row> read_metrics(const std::filesystem::path& path) {
  std::vector<metric_row> rows;
  for (const auto& line : run_files::read_step_lines(path)) {
    auto row = parse_metric_row(line);
    if (!row)
      break;
    rows.push_back(std::move(*row));
  }
  return rows;
}

} // namespace millrace::telemetry
