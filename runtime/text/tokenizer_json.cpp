#include "runtime/text/tokenizer_json.hpp"

#include "runtime/formats/strict_json.hpp"
#include "runtime/words/input_error.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <unordered_set>

namespace millrace::text {
namespace {

using nlohmann::json;

constexpr formats::json_limits limits{128 << 20, 64};
constexpr std::int64_t largest_id = (1 << 22) - 1;

/// A value and the path to it from the top of the file, for error lines.
struct node {
  const json& value;
  std::string path;
  const std::string& origin;

  [[noreturn]] void fail(const std::string& found, const std::string& want) const {
    throw input_error(origin + ": " + path + ": found " + found + ", want " + want);
  }

  std::string found() const {
    std::string text = value.dump(-1, ' ', false, json::error_handler_t::replace);
    return text.size() > 80 ? std::string(value.type_name()) : text;
  }

  bool has(const char* key) const {
    const auto at = value.find(key);
    return at != value.end() && !at->is_null();
  }

  node at(const char* key) const {
    if (!value.is_object())
      fail(found(), "an object");
    const auto it = value.find(key);
    if (it == value.end())
      fail("no \"" + std::string(key) + "\"", "one");
    return {*it, path.empty() ? key : path + "." + key, origin};
  }

  node element(std::size_t i) const { return {value[i], path + "[" + std::to_string(i) + "]", origin}; }

  const std::string& text() const {
    if (!value.is_string())
      fail(found(), "a string");
    return value.get_ref<const std::string&>();
  }

  std::size_t list() const {
    if (!value.is_array())
      fail(found(), "a list");
    return value.size();
  }

  bool flag(const char* key, bool absent) const {
    if (!has(key))
      return absent;
    const node f = at(key);
    if (!f.value.is_boolean())
      f.fail(f.found(), "true or false");
    return f.value.get<bool>();
  }

  std::int32_t id() const {
    if (!value.is_number_integer()
        || (value.is_number_unsigned() && value.get<std::uint64_t>() > std::uint64_t{largest_id})
        || value.get<std::int64_t>() < 0 || value.get<std::int64_t>() > largest_id)
      fail(found(), "an id in [0, " + std::to_string(largest_id) + "]");
    return value.get<std::int32_t>();
  }
};

void read_normalizer(const node& part, tokenizer_data& data) {
  const std::string& type = part.at("type").text();
  if (type == "NFC") {
    data.nfc = true;
  } else if (type == "Sequence") {
    const node list = part.at("normalizers");
    for (std::size_t i = 0; i < list.list(); ++i)
      read_normalizer(list.element(i), data);
  } else {
    part.at("type").fail("the normalizer \"" + type + "\"", "NFC or none");
  }
}

pre_tokenizer_step::behavior read_behavior(const node& part) {
  using behavior = pre_tokenizer_step::behavior;
  const std::string& name = part.text();
  if (name == "Isolated")
    return behavior::isolated;
  if (name == "Removed")
    return behavior::removed;
  if (name == "MergedWithPrevious")
    return behavior::merged_with_previous;
  if (name == "MergedWithNext")
    return behavior::merged_with_next;
  if (name == "Contiguous")
    return behavior::contiguous;
  part.fail("\"" + name + "\"", "Isolated, Removed, MergedWithPrevious, MergedWithNext or Contiguous");
}

void read_pre_tokenizer(const node& part, std::vector<pre_tokenizer_step>& steps) {
  const std::string& type = part.at("type").text();
  pre_tokenizer_step step;
  if (type == "Sequence") {
    const node list = part.at("pretokenizers");
    for (std::size_t i = 0; i < list.list(); ++i)
      read_pre_tokenizer(list.element(i), steps);
    return;
  }
  if (type == "ByteLevel") {
    step.what = pre_tokenizer_step::kind::byte_level;
    step.add_prefix_space = part.flag("add_prefix_space", true);
    step.use_regex = part.flag("use_regex", true);
  } else if (type == "Digits") {
    step.what = pre_tokenizer_step::kind::digits;
    step.individual_digits = part.flag("individual_digits", false);
  } else if (type == "Split") {
    step.what = pre_tokenizer_step::kind::split;
    step.cut = read_behavior(part.at("behavior"));
    step.invert = part.flag("invert", false);
    const node pattern = part.at("pattern");
    step.literal = pattern.value.is_object() && pattern.has("String");
    step.pattern = pattern.at(step.literal ? "String" : "Regex").text();
  } else {
    part.at("type").fail("the pre-tokenizer \"" + type + "\"", "ByteLevel, Split, Digits or a Sequence of them");
  }
  steps.push_back(std::move(step));
}

/// What a template puts around one text: the ids before and after `$A`.
void read_template(const node& part, tokenizer_data& data) {
  const node single = part.at("single");
  bool after = false;
  for (std::size_t i = 0; i < single.list(); ++i) {
    const node piece = single.element(i);
    if (piece.value.is_object() && piece.has("Sequence")) {
      after = true;
      continue;
    }
    const std::string& name = piece.at("SpecialToken").at("id").text();
    const node ids = part.at("special_tokens").at(name.c_str()).at("ids");
    for (std::size_t k = 0; k < ids.list(); ++k)
      (after ? data.suffix : data.prefix).push_back(ids.element(k).id());
  }
}

void read_post_processor(const node& part, tokenizer_data& data) {
  const std::string& type = part.at("type").text();
  if (type == "Sequence") {
    const node list = part.at("processors");
    for (std::size_t i = 0; i < list.list(); ++i)
      read_post_processor(list.element(i), data);
  } else if (type == "TemplateProcessing") {
    read_template(part, data);
  } else if (type != "ByteLevel") { // ByteLevel moves offsets only
    part.at("type").fail("the post-processor \"" + type + "\"", "TemplateProcessing, ByteLevel or none");
  }
}

void read_vocabulary(const node& part, tokenizer_data& data) {
  if (!part.value.is_object() || part.value.empty())
    part.fail(part.found(), "an object of tokens and their ids");
  for (const auto& [token, id] : part.value.items()) {
    const node entry{id, part.path + ".\"" + token + "\"", part.origin};
    const auto at = static_cast<std::size_t>(entry.id());
    if (token.empty())
      entry.fail("an empty token", "text");
    if (data.vocabulary.size() <= at)
      data.vocabulary.resize(at + 1);
    if (!data.vocabulary[at].empty())
      entry.fail("id " + std::to_string(at) + ", which \"" + data.vocabulary[at] + "\" has too", "an id of its own");
    data.vocabulary[at] = token;
  }
}

void read_merges(const node& part, tokenizer_data& data) {
  const std::size_t count = part.list();
  data.merges.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    const json& entry = part.value[i];
    if (entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_string()) {
      data.merges.emplace_back(entry[0].get<std::string>(), entry[1].get<std::string>());
      continue;
    }
    if (entry.is_string()) {
      const std::string& line = entry.get_ref<const std::string&>();
      const std::size_t space = line.find(' ');
      if (space != std::string::npos && line.find(' ', space + 1) == std::string::npos) {
        data.merges.emplace_back(line.substr(0, space), line.substr(space + 1));
        continue;
      }
    }
    const node wrong = part.element(i);
    wrong.fail(wrong.found(), "two tokens, \"a b\" or [\"a\", \"b\"]");
  }
}

void read_model(const node& part, tokenizer_data& data) {
  if (part.has("type") && part.at("type").text() != "BPE")
    part.at("type").fail("the model \"" + part.at("type").text() + "\"", "BPE");
  for (const char* key : {"byte_fallback", "fuse_unk"})
    if (part.flag(key, false))
      part.at(key).fail("true", "false: a byte-level BPE has no use for it");
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"})
    if (part.has(key) && !part.at(key).text().empty())
      part.at(key).fail(part.at(key).found(), "none: a byte-level BPE has no use for it");
  if (part.has("dropout") && part.at("dropout").value != 0)
    part.at("dropout").fail(part.at("dropout").found(), "none: encoding here is deterministic");
  data.ignore_merges = part.flag("ignore_merges", false);
  read_vocabulary(part.at("vocab"), data);
  read_merges(part.at("merges"), data);
  if (part.has("unk_token")) {
    const std::string& unknown = part.at("unk_token").text();
    const auto at = std::find(data.vocabulary.begin(), data.vocabulary.end(), unknown);
    if (at == data.vocabulary.end())
      part.at("unk_token").fail("\"" + unknown + "\"", "a token of the vocabulary");
    data.unknown = static_cast<std::int32_t>(at - data.vocabulary.begin());
  }
}

void read_added_tokens(const node& part, tokenizer_data& data) {
  std::unordered_set<std::int32_t> seen;
  for (std::size_t i = 0; i < part.list(); ++i) {
    const node entry = part.element(i);
    added_token token;
    token.id = entry.at("id").id();
    token.content = entry.at("content").text();
    token.single_word = entry.flag("single_word", false);
    token.lstrip = entry.flag("lstrip", false);
    token.rstrip = entry.flag("rstrip", false);
    token.special = entry.flag("special", false);
    token.normalized = entry.flag("normalized", !token.special);
    if (token.content.empty())
      entry.at("content").fail("an empty token", "text");
    if (!seen.insert(token.id).second)
      entry.at("id").fail("id " + std::to_string(token.id) + " a second time", "an id of its own");
    data.added.push_back(std::move(token));
  }
}

json step_json(const pre_tokenizer_step& step) {
  static constexpr const char* behaviors[] = {"Isolated", "Removed", "MergedWithPrevious", "MergedWithNext",
                                              "Contiguous"};
  switch (step.what) {
  case pre_tokenizer_step::kind::split:
    return {{"type", "Split"},
            {"pattern", {{step.literal ? "String" : "Regex", step.pattern}}},
            {"behavior", behaviors[static_cast<std::size_t>(step.cut)]},
            {"invert", step.invert}};
  case pre_tokenizer_step::kind::digits:
    return {{"type", "Digits"}, {"individual_digits", step.individual_digits}};
  case pre_tokenizer_step::kind::byte_level:
    return {{"type", "ByteLevel"},
            {"add_prefix_space", step.add_prefix_space},
            {"trim_offsets", true},
            {"use_regex", step.use_regex}};
  }
  return nullptr;
}

} // namespace

tokenizer_data parse_tokenizer_json(std::string_view text, std::string origin) {
  tokenizer_data data;
  data.origin = std::move(origin);
  const json file = formats::parse_json(text, data.origin, limits);
  const node root{file, "", data.origin};
  if (!file.is_object())
    throw input_error(data.origin + ": found no JSON object, want a tokenizer.json");
  read_model(root.at("model"), data);
  if (root.has("added_tokens"))
    read_added_tokens(root.at("added_tokens"), data);
  if (root.has("normalizer"))
    read_normalizer(root.at("normalizer"), data);
  if (!root.has("pre_tokenizer"))
    throw input_error(data.origin + ": pre_tokenizer: found none, want one that ends in ByteLevel");
  read_pre_tokenizer(root.at("pre_tokenizer"), data.pre_tokenizer);
  const auto byte_level_steps =
      std::count_if(data.pre_tokenizer.begin(), data.pre_tokenizer.end(),
                    [](const auto& step) { return step.what == pre_tokenizer_step::kind::byte_level; });
  if (byte_level_steps != 1 || data.pre_tokenizer.back().what != pre_tokenizer_step::kind::byte_level)
    throw input_error(data.origin + ": pre_tokenizer: found " + std::to_string(byte_level_steps)
                      + " ByteLevel steps, want one, and it the last");
  if (root.has("post_processor"))
    read_post_processor(root.at("post_processor"), data);
  if (!root.has("decoder") || root.at("decoder").at("type").text() != "ByteLevel")
    throw input_error(data.origin + ": decoder: found another than ByteLevel, want ByteLevel");
  data.source_json = text;
  return data;
}

tokenizer_data read_tokenizer_json(const std::filesystem::path& file) {
  return parse_tokenizer_json(formats::read_text(file, limits), file.string());
}

std::string write_tokenizer_json(const tokenizer_data& data) {
  if (!data.source_json.empty())
    return data.source_json;
  json file = {{"version", "1.0"}, {"truncation", nullptr}, {"padding", nullptr}};
  json& added = file["added_tokens"] = json::array();
  for (const added_token& token : data.added)
    added.push_back({{"id", token.id},
                     {"content", token.content},
                     {"single_word", token.single_word},
                     {"lstrip", token.lstrip},
                     {"rstrip", token.rstrip},
                     {"normalized", token.normalized},
                     {"special", token.special}});
  file["normalizer"] = data.nfc ? json{{"type", "NFC"}} : json(nullptr);
  json steps = json::array();
  for (const pre_tokenizer_step& step : data.pre_tokenizer)
    steps.push_back(step_json(step));
  file["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", std::move(steps)}};
  file["decoder"] = {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}};

  json single = json::array();
  json special = json::object();
  const auto around = [&](const std::vector<std::int32_t>& ids) {
    for (const std::int32_t id : ids) {
      const auto at = static_cast<std::size_t>(id);
      const auto token = std::find_if(data.added.begin(), data.added.end(), [&](const auto& t) { return t.id == id; });
      const std::string name = token != data.added.end() ? token->content : data.vocabulary.at(at);
      single.push_back({{"SpecialToken", {{"id", name}, {"type_id", 0}}}});
      special[name] = {{"id", name}, {"ids", {id}}, {"tokens", {name}}};
    }
  };
  around(data.prefix);
  single.push_back({{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
  around(data.suffix);
  json pair = single;
  pair.push_back({{"Sequence", {{"id", "B"}, {"type_id", 1}}}});
  if (special.empty())
    file["post_processor"] = nullptr;
  else
    file["post_processor"] = {
        {"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", special}};

  json vocabulary = json::object();
  for (std::size_t id = 0; id < data.vocabulary.size(); ++id)
    if (!data.vocabulary[id].empty())
      vocabulary[data.vocabulary[id]] = id;
  json merges = json::array();
  for (const auto& [left, right] : data.merges)
    merges.push_back(json::array({left, right}));
  file["model"] = {{"type", "BPE"},
                   {"dropout", nullptr},
                   {"unk_token", nullptr},
                   {"continuing_subword_prefix", nullptr},
                   {"end_of_word_suffix", nullptr},
                   {"fuse_unk", false},
                   {"byte_fallback", false},
                   {"ignore_merges", data.ignore_merges},
                   {"vocab", std::move(vocabulary)},
                   {"merges", std::move(merges)}};
  if (data.unknown)
    file["model"]["unk_token"] = data.vocabulary.at(static_cast<std::size_t>(*data.unknown));
  return file.dump(1);
}

} // namespace millrace::text
