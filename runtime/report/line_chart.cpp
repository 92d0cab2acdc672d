#include "runtime/report/line_chart.hpp"

#include "runtime/report/frame.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace millrace::report {
namespace {

constexpr std::size_t line_colours = 6;
constexpr std::size_t most_points = 2000;

std::string path_of(const series& line, const frame& in) {
  std::string path;
  bool down = false;
  double last_y = 0;
  const std::size_t stride = std::max<std::size_t>(1, line.points.size() / most_points);
  for (std::size_t i = 0; i < line.points.size(); i += stride) {
    const auto& [x, y] = line.points[i];
    if (!std::isfinite(y)) {
      down = false;
      continue;
    }
    if (down && line.stepped)
      path += printed("L%.1f %.1fL%.1f %.1f", in.x(x), last_y, in.x(x), in.y(y));
    else
      path += printed("%c%.1f %.1f", down ? 'L' : 'M', in.x(x), in.y(y));
    last_y = in.y(y);
    down = true;
  }
  return path;
}

} // namespace

std::string line_class(std::size_t n) {
  return "line" + std::to_string(n % line_colours);
}

std::string line_chart(std::string_view title, std::string_view x_name, std::string_view y_name,
                       std::span<const series> lines) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  double x_low = infinity, x_high = -infinity, y_low = infinity, y_high = -infinity;
  for (const auto& line : lines)
    for (const auto& [x, y] : line.points)
      if (std::isfinite(y)) {
        x_low = std::min(x_low, x), x_high = std::max(x_high, x);
        y_low = std::min(y_low, y), y_high = std::max(y_high, y);
      }
  if (x_low > x_high)
    return {};
  y_low = std::min(y_low, 0.0);
  y_high = std::max(y_high, 0.0);
  const frame in(x_low, x_high, y_low, y_high);
  std::string body = in.axes(x_name, y_name), legend;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const std::string path = path_of(lines[i], in);
    if (path.empty())
      continue;
    body += "<path class=\"stroke " + line_class(i) + "\" d=\"" + path + "\"><title>" + escaped(lines[i].name)
            + "</title></path>";
    if (lines[i].points.size() == 1)
      body += "<circle class=\"" + line_class(i)
              + printed("\" cx=\"%.1f\" cy=\"%.1f\" r=\"3\"/>", in.x(lines[i].points[0].first),
                        in.y(lines[i].points[0].second));
    legend += legend_entry(line_class(i), lines[i].name);
  }
  return figure(title, frame::width, frame::height, body, lines.size() > 1 ? legend : std::string());
}

} // namespace millrace::report
