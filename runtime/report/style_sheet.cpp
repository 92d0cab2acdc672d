#include "runtime/report/style_sheet.hpp"

#include <string_view>

namespace millrace::report {
namespace {

constexpr std::string_view style = R"(
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5c6675; --line: #d9dee6; --paper: #fff; --idle: #eef1f5; }
@media (prefers-color-scheme: dark) {
:root { --ink: #e6eaf0; --soft: #9aa5b5; --line: #343c49; --paper: #14181f; --idle: #222934; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 2rem auto;
  max-width: 1320px; padding: 0 1.2rem; }
h1 { font-size: 1.5rem; margin: 0 0 .2rem; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
h3 { font-size: 1rem; margin: 1.4rem 0 .4rem; }
p { color: var(--soft); margin: .2rem 0 1rem; }
table { border-collapse: collapse; }
td, th { padding: .2rem .9rem .2rem 0; text-align: right; border-bottom: 1px solid var(--line); }
.chart + table { margin: .4rem 0 1.2rem; }
td:first-child, th:first-child { text-align: left; color: var(--soft); font-weight: normal; }
td { font-variant-numeric: tabular-nums; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(520px, 1fr)); gap: 1rem 1.6rem; }
.chart { margin: 0; }
.wide { display: block; }
figcaption { font-weight: 600; }
svg { width: 100%; height: auto; display: block; }
.legend { font-size: .85rem; color: var(--soft); }
.legend span { margin-right: 1rem; white-space: nowrap; }
.legend i { display: inline-block; width: .8em; height: .8em; margin-right: .35em; border-radius: 2px;
  vertical-align: -.05em; }
.tick, .name { font: 11px system-ui, sans-serif; fill: var(--soft); }
.grid { stroke: var(--line); stroke-width: 1; }
.axis { stroke: var(--soft); }
.stroke { fill: none !important; stroke-width: 1.8; stroke-linejoin: round; }
.session { stroke: var(--ink); stroke-dasharray: 4 3; }
.band { opacity: .55; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: .2rem 0; font-size: .85rem; color: var(--ink); }
.answers td { vertical-align: top; }
)";

struct colour {
  std::string_view name, value;
};

constexpr colour class_colours[] = {{"line0", "#2a78b8"},
                                    {"line1", "#d9722e"},
                                    {"line2", "#3f9b5c"},
                                    {"line3", "#a8518f"},
                                    {"line4", "#8a7a1f"},
                                    {"line5", "#5b6bd0"},
                                    {"cause-compute", "#2f9e8f"},
                                    {"cause-wait_input", "#f0b458"},
                                    {"cause-wait_credit", "#e58a3a"},
                                    {"cause-wait_version", "#d2593c"},
                                    {"cause-wait_weights", "#b9789f"},
                                    {"cause-transfer", "#4a86c8"},
                                    {"cause-storage", "#8c6f56"},
                                    {"cause-paused", "#9aa3af"},
                                    {"cause-other", "#6c7a89"},
                                    {"flow-trained", "#2f9e8f"},
                                    {"flow-dropped", "#d2593c"},
                                    {"flow-live", "#9aa3af"},
                                    {"flow-node", "#5c6675"}};

} // namespace

std::string style_sheet() {
  std::string out(style);
  out += ".cause-idle { fill: var(--idle); background: var(--idle); }\n";
  for (const auto& [name, value] : class_colours)
    out += "." + std::string(name) + " { fill: " + std::string(value) + "; stroke: none; background: "
           + std::string(value) + "; } .stroke." + std::string(name) + " { stroke: " + std::string(value) + "; }\n";
  return out;
}

} // namespace millrace::report
