#include "runtime/pipeline/draw.hpp"

#include "runtime/pipeline/checks.hpp"
#include "runtime/pipeline/wording.hpp"
#include "runtime/words/enum_words.hpp"

#include <algorithm>

namespace millrace::pipeline {
namespace {

bool adds(const role& r, const std::string& column) {
  return std::find(r.adds.begin(), r.adds.end(), column) != r.adds.end();
}

/// Whether the column leaves `name`: added there or above.
bool carries(const pipeline& p, const std::string& name, const std::string& column) {
  const auto above = upstream_of(p, name);
  return adds(p.at(name), column)
         || std::any_of(above.begin(), above.end(), [&](const role* r) { return adds(*r, column); });
}

} // namespace

std::vector<std::string> columns_between(const pipeline& p, const std::string& from, const role& reader) {
  std::vector<std::string> taken;
  for (const std::string& column : reader.reads) {
    auto giver = std::find_if(reader.from.begin(), reader.from.end(),
                              [&](const std::string& f) { return adds(p.at(f), column); });
    if (giver == reader.from.end())
      giver = std::find_if(reader.from.begin(), reader.from.end(),
                           [&](const std::string& f) { return carries(p, f, column); });
    if (giver != reader.from.end() && *giver == from)
      taken.push_back(column);
  }
  return taken;
}

std::string published_by(const pipeline& p, const role& policy) {
  const auto dtype = p.models.at(std::get<policy_table>(policy.options).model).dtype;
  const bool shares = p.processes_of(policy.name) > 1 && p.shard_of(policy.name) == sharding::full;
  return "weights" + (dtype == precision::float32 ? "" : ", " + std::string(word(dtype)))
         + (shares ? ", a share from each rank" : "");
}

namespace {

/// @param prefix of every identifier
std::string dot_body(const pipeline& p, const std::string& prefix, const std::string& indent) {
  std::string out;
  const auto id = [&](const std::string& name) { return in_quotes(prefix + name); };
  for (const role& r : p.roles)
    out += indent + id(r.name) + " [label=" + in_quotes(r.name + "\n" + std::string(r.kind()) + "\n" + place_of(p, r))
           + "];\n";
  for (const role& r : p.roles)
    for (const std::string& from : r.from)
      out += indent + id(from) + " -> " + id(r.name) + " [label=" + in_quotes(joined(columns_between(p, from, r), "\n"))
             + "];\n";
  for (const role* r : p.of<rollout_table>())
    if (const auto& plays = std::get<rollout_table>(r->options).environment; !plays.empty())
      out += indent + id(r->name) + " -> " + id(plays) + " [label=\"turns\", style=dotted, dir=both];\n";
  for (const role* policy : p.of<policy_table>())
    for (const std::string& to : std::get<policy_table>(policy->options).publishes_to)
      out += indent + id(policy->name) + " -> " + id(to) + " [label=" + in_quotes(published_by(p, *policy))
             + ", style=dashed, constraint=false];\n";
  return out;
}

// Mermaid reserves words such as `end`: identifiers get a prefix.
std::string mermaid_body(const pipeline& p, const std::string& prefix, const std::string& indent) {
  std::string out;
  for (const role& r : p.roles)
    out += indent + prefix + r.name + "[\"" + r.name + "<br/>" + std::string(r.kind()) + "<br/>" + place_of(p, r)
           + "\"]\n";
  for (const role& r : p.roles)
    for (const std::string& from : r.from) {
      const std::string columns = joined(columns_between(p, from, r), "<br/>");
      out += indent + prefix + from + " -->" + (columns.empty() ? "" : "|\"" + columns + "\"|") + ' ' + prefix + r.name
             + '\n';
    }
  for (const role* r : p.of<rollout_table>())
    if (const auto& plays = std::get<rollout_table>(r->options).environment; !plays.empty())
      out += indent + prefix + r->name + " <-.->|turns| " + prefix + plays + '\n';
  for (const role* policy : p.of<policy_table>())
    for (const std::string& to : std::get<policy_table>(policy->options).publishes_to)
      out += indent + prefix + policy->name + " -.->|" + published_by(p, *policy) + "| " + prefix + to + '\n';
  return out;
}

/// Calls `draw(from, to, reader, part)` for each reference to an earlier stage: `from` and `to` are the policy there
/// and the role here that uses the model.
template <class Draw>
void each_reference(const std::vector<stage>& stages, Draw draw) {
  for (const stage& s : stages)
    for (const role& r : s.what.roles)
      std::visit(
          [&](const auto& table) {
            if constexpr (requires { table.model; })
              if (const auto model = s.what.models.find(table.model); model != s.what.models.end())
                if (const auto reference = stage_reference_of(model->second.path))
                  draw(*reference, s, r);
          },
          r.options);
}

const stage& stage_named(const std::vector<stage>& stages, const std::string& name) {
  return *std::find_if(stages.begin(), stages.end(), [&](const stage& s) { return s.name == name; });
}

constexpr const char* dot_head = " {\n  rankdir=LR;\n  node [shape=box, style=rounded, fontname=\"sans-serif\"];\n"
                                 "  edge [fontname=\"sans-serif\", fontsize=10];\n";

} // namespace

std::string draw_dot(const pipeline& p) {
  return "digraph " + in_quotes(p.run.name) + dot_head + dot_body(p, "", "  ") + "}\n";
}

std::string draw_mermaid(const pipeline& p) {
  return "flowchart LR\n" + mermaid_body(p, "role_", "  ");
}

std::string draw_dot(const std::vector<stage>& stages) {
  std::string out = "digraph " + in_quotes(name_of_run(stages)) + dot_head;
  for (const stage& s : stages)
    out += "  subgraph " + in_quotes("cluster_" + s.name) + " {\n    label=" + in_quotes(s.name) + ";\n"
           + dot_body(s.what, s.name + '.', "    ") + "  }\n";
  each_reference(stages, [&](const stage_reference& from, const stage& to, const role& reader) {
    out += "  " + in_quotes(from.stage + '.' + stage_named(stages, from.stage).what.policy().name) + " -> "
           + in_quotes(to.name + '.' + reader.name) + " [label=" + in_quotes(from.part) + ", style=bold];\n";
  });
  return out + "}\n";
}

std::string draw_mermaid(const std::vector<stage>& stages) {
  std::string out = "flowchart LR\n";
  const auto prefix = [](const std::string& name) { return "stage_" + name + "_role_"; };
  for (const stage& s : stages)
    out += "  subgraph stage_" + s.name + "[\"" + s.name + "\"]\n" + mermaid_body(s.what, prefix(s.name), "    ")
           + "  end\n";
  each_reference(stages, [&](const stage_reference& from, const stage& to, const role& reader) {
    out += "  " + prefix(from.stage) + stage_named(stages, from.stage).what.policy().name + " ==>|" + from.part + "| "
           + prefix(to.name) + reader.name + '\n';
  });
  return out;
}

} // namespace millrace::pipeline
