#include "runtime/pipeline/stages.hpp"

#include "runtime/pipeline/checks.hpp"
#include "runtime/pipeline/parse.hpp"
#include "runtime/pipeline/wording.hpp"

#include <algorithm>

namespace millrace::pipeline {
namespace {

constexpr std::string_view prefix = "stage:";
constexpr std::size_t most_stages = 64;

value without(const value& table, std::string_view key) {
  value out = table;
  std::erase_if(out.members, [&](const member& m) { return m.key == key; });
  return out;
}

value text_value(std::string text, const position& where) {
  value v;
  v.kind = value::type::text;
  v.text = std::move(text);
  v.where = where;
  return v;
}

/// Calls the stage's run after itself, where it does not say what it is called.
void name_run(value& root, const value& written, const std::string& name) {
  const member* own = written.find("run");
  if (own && own->is.kind == value::type::table && own->is.find("name"))
    return;
  for (member& table : root.members)
    if (table.key == "run" && table.is.kind == value::type::table)
      for (member& key : table.is.members)
        if (key.key == "name" && key.is.kind == value::type::text)
          key.is = text_value(key.is.text + '.' + name, key.is.where);
}

/// @returns "" after saying what is wrong with it
std::string name_of(const value& table, const std::vector<std::string>& earlier, reading& into) {
  const member* name = table.find("name");
  if (!name) {
    into.wrong(table.where, "stage: no key 'name', want a name that later stages call it by");
    return {};
  }
  if (name->is.kind != value::type::text || !is_name(name->is.text)) {
    into.wrong(name->is.where, "stage.name: found " + name->is.found()
                                   + ", want a letter, then letters, digits, '_' and '-', at most 64");
    return {};
  }
  if (std::find(earlier.begin(), earlier.end(), name->is.text) != earlier.end()) {
    into.wrong(name->is.where,
               "stage.name: found a second stage named " + in_quotes(name->is.text) + ", want a name of its own");
    return {};
  }
  return name->is.text;
}

std::vector<stage> staged(const document& from, const value& list, const vocabulary& words,
                          std::vector<mistake>& mistakes) {
  std::vector<stage> stages;
  std::vector<std::string> names;
  reading whole{words, from.folders, {}, {{"", from.root.where}}, {}};
  if (list.kind != value::type::list || list.items.empty() || list.items.size() > most_stages)
    whole.wrong(list.where, "stage: found " + list.found() + ", want 1 to 64 tables [[stage]]");
  const value top = without(from.root, "stage");
  for (const value& table : list.items) {
    if (table.kind != value::type::table) {
      whole.wrong(table.where, "stage: found " + table.found() + ", want a table [[stage]]");
      continue;
    }
    const std::string called = name_of(table, names, whole);
    value root = merged(top, without(table, "name"));
    root.where = table.where;
    name_run(root, table, called);
    reading into{words, from.folders, {}, {{"", root.where}}, {}, names};
    stages.push_back({called, pipeline_from(root, into)});
    name_files(stages.back().what, from);
    for (mistake& m : into.mistakes)
      mistakes.push_back({std::move(m.where), "stage " + in_quotes(called) + ": " + m.text});
    stages.back().what.origins = std::move(into.origins);
    stages.back().what.places = std::move(into.places);
    names.push_back(called);
  }
  mistakes.insert(mistakes.end(), whole.mistakes.begin(), whole.mistakes.end());
  return stages;
}

std::vector<stage> stages_of(document from, const std::vector<std::string>& overrides, const vocabulary& words) {
  if (!from.root.find("stage"))
    return {{"", pipeline_of(std::move(from), overrides, words)}};
  std::vector<mistake> mistakes;
  for (const std::string& o : overrides)
    apply_override(from.root, o, mistakes);
  auto stages = staged(from, from.root.find("stage")->is, words, mistakes);
  if (!mistakes.empty())
    throw pipeline_errors(std::move(mistakes));
  return stages;
}

} // namespace

std::optional<stage_reference> stage_reference_of(const std::filesystem::path& path) {
  const std::string text = path.string();
  if (!text.starts_with(prefix))
    return std::nullopt;
  stage_reference out;
  const std::size_t slash = text.find('/');
  out.stage = text.substr(prefix.size(), slash == std::string::npos ? slash : slash - prefix.size());
  if (slash != std::string::npos)
    out.part = text.substr(slash + 1);
  return out;
}

std::vector<stage> parse_stages(std::string_view text, const std::string& name, const std::filesystem::path& folder,
                                const std::vector<std::string>& overrides, const vocabulary& words) {
  const layer only{std::string(text), name, folder};
  return stages_of(laid_over({&only, 1}), overrides, words);
}

std::vector<stage> read_stages(const std::filesystem::path& file, const std::vector<std::string>& overrides,
                               const vocabulary& words) {
  return read_stages(std::vector{file}, overrides, words);
}

std::vector<stage> read_stages(const std::vector<std::filesystem::path>& files,
                               const std::vector<std::string>& overrides, const vocabulary& words) {
  return stages_of(laid_over(texts_of(files)), overrides, words);
}

bool is_staged(const std::vector<stage>& stages) {
  return !stages.empty() && !stages.front().name.empty();
}

std::string name_of_run(const std::vector<stage>& stages) {
  const std::string name = stages.front().what.run.name, own = '.' + stages.front().name;
  return name.size() > own.size() && name.ends_with(own) ? name.substr(0, name.size() - own.size()) : name;
}

std::string resolved_stages(const std::vector<stage>& stages) {
  if (!is_staged(stages))
    return resolved_toml(stages.front().what);
  std::string out;
  for (const stage& s : stages) {
    out += "\n[[stage]]\nname = " + in_quotes(s.name) + '\n';
    const std::string text = resolved_toml(s.what);
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t end = std::min(text.find('\n', at), text.size());
      std::string line = text.substr(at, end - at);
      // Headers alone begin with a bracket: every list is a key's.
      if (line.starts_with("[["))
        line.insert(2, "stage.");
      else if (line.starts_with('['))
        line.insert(1, "stage.");
      out += line + '\n';
      at = end + 1;
    }
  }
  return out;
}

pipeline with_references(pipeline p, const std::function<std::filesystem::path(const stage_reference&)>& folder_of) {
  for (auto& [name, model] : p.models)
    if (const auto reference = stage_reference_of(model.path))
      model.path = folder_of(*reference);
  return p;
}

std::string describe(const std::vector<stage>& stages) {
  if (!is_staged(stages))
    return describe(stages.front().what);
  std::string out;
  for (std::size_t i = 0; i < stages.size(); ++i) {
    out += "stage " + std::to_string(i + 1) + " of " + std::to_string(stages.size()) + ", " + stages[i].name + "\n";
    for (const auto& [name, model] : stages[i].what.models)
      if (const auto reference = stage_reference_of(model.path))
        out += "model " + name + ": the " + reference->part + " that stage " + reference->stage + " ends with\n";
    out += describe(stages[i].what) + (i + 1 < stages.size() ? "\n" : "");
  }
  return out;
}

} // namespace millrace::pipeline
