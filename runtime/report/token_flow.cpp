#include "runtime/report/token_flow.hpp"

#include "runtime/report/frame.hpp"

#include <utility>
#include <vector>

namespace millrace::report {
namespace {

constexpr int width = 640, node = 16, left = 96, right = 420, gap = 14, room = 150, top = 14;

} // namespace

std::string token_flow(std::string_view title, const telemetry::ledger_totals& ledger) {
  if (ledger.generated <= 0)
    return {};
  std::vector<std::pair<std::string, std::int64_t>> fates{{"trained", ledger.trained}};
  for (const auto& [reason, tokens] : ledger.dropped)
    fates.emplace_back("dropped: " + reason, tokens);
  fates.emplace_back("live", ledger.live);
  std::erase_if(fates, [](const auto& fate) { return fate.second <= 0; });

  const double scale = static_cast<double>(room) / static_cast<double>(ledger.generated);
  std::string body;
  body += printed("<rect class=\"flow-node\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\"/>", left, top, node, room);
  body += printed("<text class=\"tick\" text-anchor=\"end\" x=\"%d\" y=\"%d\">generated</text><text class=\"tick\" "
                  "text-anchor=\"end\" x=\"%d\" y=\"%d\">%s</text>",
                  left - 6, top + room / 2 - 2, left - 6, top + room / 2 + 13,
                  in_figures(static_cast<double>(ledger.generated), 6).c_str());
  double from = top, to = top;
  for (const auto& [fate, tokens] : fates) {
    const double thick = static_cast<double>(tokens) * scale, middle = (left + node + right) / 2.0;
    const std::string colour = fate == "trained" ? "flow-trained" : fate == "live" ? "flow-live" : "flow-dropped";
    body += "<path class=\"band " + colour
            + printed("\" d=\"M%d %.1fC%.0f %.1f %.0f %.1f %d %.1fL%d %.1fC%.0f %.1f %.0f %.1f %d %.1fZ\"/>",
                      left + node, from, middle, from, middle, to, right, to, right, to + thick, middle, to + thick,
                      middle, from + thick, left + node, from + thick);
    body += "<rect class=\"" + colour
            + printed("\" x=\"%d\" y=\"%.1f\" width=\"%d\" height=\"%.1f\"/>", right, to, node, thick < 1 ? 1 : thick);
    body += printed("<text class=\"tick\" x=\"%d\" y=\"%.1f\">", right + node + 6, to + thick / 2 + 4)
            + escaped(fate + "  " + in_figures(static_cast<double>(tokens), 6)) + "</text>";
    from += thick;
    to += thick + gap;
  }
  return figure(title, width, static_cast<int>(to) + 10, body);
}

} // namespace millrace::report
