#include "runtime/report/bars.hpp"

#include "runtime/report/frame.hpp"
#include "runtime/report/line_chart.hpp"

#include <algorithm>

namespace millrace::report {

std::string bar_chart(std::string_view title, std::string_view x_name, std::string_view y_name,
                      std::span<const bar_set> sets) {
  std::vector<std::string> categories;
  double highest = 0;
  for (const auto& set : sets)
    for (const auto& [category, value] : set.bars) {
      if (std::find(categories.begin(), categories.end(), category) == categories.end())
        categories.push_back(category);
      highest = std::max(highest, value);
    }
  if (categories.empty())
    return {};
  const double bottom = frame::height - frame::bottom, room = frame::width - frame::left - frame::right;
  const double slot = room / static_cast<double>(categories.size());
  const double thick = std::min(60.0, slot * 0.8 / static_cast<double>(sets.size()));
  const frame in(0, 1, 0, highest > 0 ? highest : 1);
  std::string body = in.axes(x_name, y_name, x_axis::words), legend;
  for (std::size_t c = 0; c < categories.size(); ++c) {
    const double middle = frame::left + slot * (static_cast<double>(c) + 0.5);
    body += printed("<text class=\"tick\" text-anchor=\"middle\" x=\"%.1f\" y=\"%.1f\">", middle, bottom + 15)
            + escaped(categories[c]) + "</text>";
    for (std::size_t s = 0; s < sets.size(); ++s)
      for (const auto& [category, value] : sets[s].bars) {
        if (category != categories[c])
          continue;
        const double x = middle + (static_cast<double>(s) - static_cast<double>(sets.size()) / 2) * thick;
        body += "<rect class=\"" + line_class(s)
                + printed("\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"><title>", x, in.y(value), thick - 1,
                          std::max(bottom - in.y(value), 0.0))
                + escaped(sets[s].name + ", " + category + ": " + in_figures(value)) + "</title></rect>";
      }
  }
  for (std::size_t s = 0; s < sets.size(); ++s)
    legend += legend_entry(line_class(s), sets[s].name);
  return figure(title, frame::width, frame::height, body, sets.size() > 1 ? legend : std::string());
}

} // namespace millrace::report
