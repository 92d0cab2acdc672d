#include "runtime/pipeline/draw.hpp"

#include "runtime/pipeline/checks.hpp"
#include "runtime/pipeline/wording.hpp"

#include <algorithm>

namespace millrace::pipeline {
namespace {

bool adds(const role& r, const std::string& column) { return std::find(r.adds.begin(), r.adds.end(), column) != r.adds.end(); }

/// Whether the column leaves `name`: added there or above.
bool carries(const pipeline& p, const std::string& name, const std::string& column) {
  const auto above = upstream_of(p, name);
  return adds(p.at(name), column) || std::any_of(above.begin(), above.end(), [&](const role* r) { return adds(*r, column); });
}

} // namespace

std::vector<std::string> columns_between(const pipeline& p, const std::string& from, const role& reader) {
  std::vector<std::string> taken;
  for (const std::string& column : reader.reads) {
    auto giver = std::find_if(reader.from.begin(), reader.from.end(), [&](const std::string& f) { return adds(p.at(f), column); });
    if (giver == reader.from.end())
      giver = std::find_if(reader.from.begin(), reader.from.end(), [&](const std::string& f) { return carries(p, f, column); });
    if (giver != reader.from.end() && *giver == from)
      taken.push_back(column);
  }
  return taken;
}

std::string draw_dot(const pipeline& p) {
  std::string out = "digraph " + in_quotes(p.run.name) + " {\n  rankdir=LR;\n  node [shape=box, style=rounded, fontname=\"sans-serif\"];\n"
                    "  edge [fontname=\"sans-serif\", fontsize=10];\n";
  for (const role& r : p.roles)
    out += "  " + in_quotes(r.name) + " [label=" + in_quotes(r.name + "\n" + std::string(r.kind()) + "\n" + place_of(p, r)) + "];\n";
  for (const role& r : p.roles)
    for (const std::string& from : r.from)
      out += "  " + in_quotes(from) + " -> " + in_quotes(r.name) + " [label=" + in_quotes(joined(columns_between(p, from, r), "\n")) + "];\n";
  for (const role* policy : p.of<policy_table>())
    for (const std::string& to : std::get<policy_table>(policy->options).publishes_to)
      out += "  " + in_quotes(policy->name) + " -> " + in_quotes(to) + " [label=\"weights\", style=dashed, constraint=false];\n";
  return out + "}\n";
}

std::string draw_mermaid(const pipeline& p) {
  std::string out = "flowchart LR\n";
  // Mermaid reserves words such as `end`: identifiers get a prefix.
  for (const role& r : p.roles)
    out += "  role_" + r.name + "[\"" + r.name + "<br/>" + std::string(r.kind()) + "<br/>" + place_of(p, r) + "\"]\n";
  for (const role& r : p.roles)
    for (const std::string& from : r.from) {
      const std::string columns = joined(columns_between(p, from, r), "<br/>");
      out += "  role_" + from + " -->" + (columns.empty() ? "" : "|\"" + columns + "\"|") + " role_" + r.name + '\n';
    }
  for (const role* policy : p.of<policy_table>())
    for (const std::string& to : std::get<policy_table>(policy->options).publishes_to)
      out += "  role_" + policy->name + " -.->|weights| role_" + to + '\n';
  return out;
}

} // namespace millrace::pipeline
