#include "runtime/pipeline/document.hpp"
#include "runtime/pipeline/wording.hpp"

#include <algorithm>
#include <charconv>

namespace millrace::pipeline {
namespace {

bool is_key(std::string_view part) {
  return !part.empty() && std::all_of(part.begin(), part.end(), [](unsigned char c) {
    return std::isalnum(c) || c == '_' || c == '-';
  });
}

void place_all(value& v, const position& where) {
  v.where = where;
  for (value& item : v.items)
    place_all(item, where);
  for (member& m : v.members) {
    m.where = where;
    place_all(m.is, where);
  }
}

/// TOML if it is TOML, else the string itself. What is written without quotes may also be meant as a string: `bare`.
value value_of(const std::string& text, const position& where) {
  value out;
  const bool one_line = text.find_first_of("\r\n") == std::string::npos;
  const bool structured =
      text.starts_with('"') || text.starts_with('\'') || text.starts_with('[') || text.starts_with('{');
  try {
    value parsed = parse_document("v = " + text + "\n", where.source);
    if (one_line && parsed.members.size() == 1 && parsed.members[0].key == "v")
      out = std::move(parsed.members[0].is);
  } catch (const pipeline_errors&) {
    if (structured)
      throw;
  }
  if (!structured) {
    if (out.kind == value::type::table)
      out.kind = value::type::text;
    out.text = text;
    out.bare = true;
  }
  place_all(out, where);
  return out;
}

/// The entry of a list that `part` counts, or the table in it whose `name` is `part`; nullptr if there is neither.
value* entry(value& list, std::string_view part) {
  for (value& item : list.items)
    if (const member* name = item.find("name"); name && name->is.kind == value::type::text && name->is.text == part)
      return &item;
  std::size_t index = 0;
  const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), index);
  return error == std::errc() && end == part.data() + part.size() && index < list.items.size() ? &list.items[index]
                                                                                               : nullptr;
}

} // namespace

void apply_override(value& root, const std::string& override_text, std::vector<mistake>& mistakes) {
  const position where{"--set " + override_text, 0, 0};
  const auto wrong = [&](std::string text) { mistakes.push_back({where, std::move(text)}); };
  const std::size_t equals = override_text.find('=');
  if (equals == std::string::npos)
    return wrong("found no '=', want key.path=value");
  std::vector<std::string> parts;
  const std::string path = override_text.substr(0, equals);
  for (std::size_t at = 0; at <= path.size();) {
    const std::size_t dot = std::min(path.find('.', at), path.size());
    parts.push_back(path.substr(at, dot - at));
    at = dot + 1;
  }
  if (parts.size() > 16 || !std::all_of(parts.begin(), parts.end(), is_key))
    return wrong("found the key " + in_quotes(path)
                 + ", want key.path=value with letters, digits, '_' and '-' between dots");

  value given;
  try {
    given = value_of(override_text.substr(equals + 1), where);
  } catch (const pipeline_errors& error) {
    return wrong(error.mistakes()[0].text);
  }
  value* at = &root;
  std::string walked;
  for (const std::string& part : parts) {
    value* below = nullptr;
    if (at->kind == value::type::list) {
      below = entry(*at, part);
      if (!below)
        return wrong(walked + ": found entry " + part + " of a list of " + std::to_string(at->items.size())
                     + ", want one from 0");
    } else if (at->kind == value::type::table) {
      auto it = std::find_if(at->members.begin(), at->members.end(), [&](const member& m) { return m.key == part; });
      if (it == at->members.end()) {
        value table;
        table.where = where;
        at->members.push_back({part, where, std::move(table)});
        it = at->members.end() - 1;
      }
      below = &it->is;
    } else {
      return wrong(walked + ": found " + at->found() + ", want a table to set " + in_quotes(part) + " in");
    }
    at = below;
    walked += (walked.empty() ? "" : ".") + part;
  }
  *at = std::move(given);
}

} // namespace millrace::pipeline
