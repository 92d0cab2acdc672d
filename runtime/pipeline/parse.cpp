#include "runtime/pipeline/parse.hpp"

#include "runtime/pipeline/checks.hpp"
#include "runtime/pipeline/derived_defaults.hpp"
#include "runtime/pipeline/pipeline.hpp"
#include "runtime/pipeline/reader.hpp"
#include "runtime/pipeline/role_fields.hpp"
#include "runtime/pipeline/schedule_config.hpp"
#include "runtime/pipeline/wording.hpp"

#include <algorithm>

namespace millrace::pipeline {
namespace {

constexpr std::size_t most_named = 256;

/// Reads every table of a list of named tables: `[models.NAME]`, `[roles.NAME]`.
template <class Read>
void each_named(const value& root, const std::string& list, reading& into, Read read) {
  const member* found = root.find(list);
  if (!found)
    return into.wrong(root.where, "no table [" + list + ".NAME], want at least one");
  const value& tables = found->is;
  if (tables.kind != value::type::table)
    return into.wrong(tables.where, list + ": found " + tables.found() + ", want tables [" + list + ".NAME]");
  if (tables.members.empty() || tables.members.size() > most_named)
    return into.wrong(tables.where,
                      list + ": found " + std::to_string(tables.members.size()) + " tables, want 1 to 256");
  into.places.emplace(list, tables.where);
  for (const member& m : tables.members) {
    const std::string path = list + '.' + m.key;
    if (!is_name(m.key))
      into.wrong(m.where, list + ": found the name " + in_quotes(m.key)
                              + ", want a letter, then letters, digits, '_' and '-', at most 64");
    else if (m.is.kind != value::type::table)
      into.wrong(m.where, path + ": found " + m.is.found() + ", want a table");
    else
      read(m, path);
  }
}

template <class Table>
void read_table(const value& root, const std::string& name, reading& into, Table& table) {
  value none;
  none.where = root.where;
  const member* found = root.find(name);
  if (found && found->is.kind != value::type::table)
    return into.wrong(found->is.where, name + ": found " + found->is.found() + ", want a table");
  reader r(found ? found->is : none, name, into);
  Table::visit(table, r);
  r.finish();
}

/// The options that belong to `kind`, with their defaults.
template <std::size_t I = 0>
bool make_options(std::string_view kind, role_options& options) {
  if constexpr (I < std::variant_size_v<role_options>) {
    using table = std::variant_alternative_t<I, role_options>;
    if (table::kind != kind)
      return make_options<I + 1>(kind, options);
    options = table{};
    return true;
  }
  return false;
}

/// @returns whether the role can take part in the checks of the graph
bool read_role(const member& m, const std::string& path, reading& into, role& r) {
  r.name = m.key;
  into.places.emplace(path, m.is.where);
  const member* kind = m.is.find("kind");
  const std::string want = "one of " + joined(role_kinds()) + " (what the role does)";
  if (!kind) {
    into.wrong(m.is.where, path + ": no key 'kind', want " + want);
    return false;
  }
  const bool text = kind->is.kind == value::type::text || kind->is.bare;
  if (!text || !make_options(kind->is.text, r.options)) {
    const std::string near = text ? nearest(kind->is.text, role_kinds()) : "";
    into.wrong(kind->is.where, path + ".kind: found " + kind->is.found() + ", want " + want
                                   + (near.empty() ? "" : ", did you mean " + in_quotes(near) + '?'));
    return false;
  }
  reader fields(m.is, path, into);
  visit_role(r, fields);
  fields.finish();
  return true;
}

void check_top(const value& root, reading& into) {
  const std::vector<std::string> known{"run", "models", "roles", "schedule", "placement"};
  for (const member& m : root.members)
    if (std::find(known.begin(), known.end(), m.key) == known.end() && m.key != "stage")
      into.wrong(m.where, "unknown table " + in_quotes(m.key) + suggestion(m.key, known));
}

} // namespace

bool is_name(std::string_view name) {
  return !name.empty() && name.size() <= 64 && std::isalpha(static_cast<unsigned char>(name[0]))
         && std::all_of(name.begin(), name.end(),
                        [](unsigned char c) { return c < 0x80 && (std::isalnum(c) || c == '_' || c == '-'); });
}

pipeline pipeline_from(const value& root, reading& into) {
  pipeline p;
  check_top(root, into);
  read_table(root, "run", into, p.run);
  each_named(root, "models", into, [&](const member& m, const std::string& path) {
    reader r(m.is, path, into);
    model_table::visit(p.models[m.key], r);
    r.finish();
  });
  bool whole = true;
  each_named(root, "roles", into, [&](const member& m, const std::string& path) {
    whole = read_role(m, path, into, p.roles.emplace_back()) && whole;
  });
  read_table(root, "schedule", into, p.schedule);
  read_table(root, "placement", into, p.placement);

  apply_preset(p.schedule, into);
  check_schedule(p.schedule, p.run, into);
  fill_derived(p, into);
  check(p, into, whole);
  return p;
}

pipeline pipeline_of(document from, const std::vector<std::string>& overrides, const vocabulary& words) {
  reading into{words, from.folders, {}, {{"", from.root.where}}, {}};
  for (const std::string& o : overrides)
    apply_override(from.root, o, into.mistakes);
  if (const member* stages = from.root.find("stage"))
    into.wrong(stages->where,
               "found stages, want one pipeline: `millrace run` and `millrace check` take a file of several");
  pipeline p = pipeline_from(from.root, into);
  if (!into.mistakes.empty())
    throw pipeline_errors(std::move(into.mistakes));
  p.origins = std::move(into.origins);
  p.places = std::move(into.places);
  name_files(p, from);
  return p;
}

pipeline parse_pipeline(std::string_view text, const std::string& name, const std::filesystem::path& folder,
                        const std::vector<std::string>& overrides, const vocabulary& words) {
  const layer only{std::string(text), name, folder};
  return pipeline_of(laid_over({&only, 1}), overrides, words);
}

pipeline read_pipeline(const std::filesystem::path& file, const std::vector<std::string>& overrides,
                       const vocabulary& words) {
  return read_pipeline(std::vector{file}, overrides, words);
}

pipeline read_pipeline(const std::vector<std::filesystem::path>& files, const std::vector<std::string>& overrides,
                       const vocabulary& words) {
  return pipeline_of(laid_over(texts_of(files)), overrides, words);
}

} // namespace millrace::pipeline
