#include "runtime/input_error.hpp"
#include "runtime/model/checkpoint.hpp"
#include "runtime/model/tokenizer_json.hpp"
#include "tools/command.hpp"

#include <nlohmann/json.hpp>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>

namespace millrace::tools {
namespace {

struct arguments {
  std::string model, text, file;
  bool decode = false;
  bool json = false;
  bool add_special = false;
};

/// A folder's tokenizer.json needs no weights or config.json beside it.
std::shared_ptr<const model::tokenizer> read_tokenizer(const std::filesystem::path& path) {
  if (std::filesystem::is_directory(path))
    return std::make_shared<const model::tokenizer>(model::read_tokenizer_json(path / "tokenizer.json"));
  const auto found = model::load_checkpoint(path, {.weights = false, .score_head = true});
  if (!found.tok)
    throw input_error(path.string() + ": found no tokenizer, want one");
  return found.tok;
}

std::string ids_line(const std::vector<std::int32_t>& ids) {
  std::string line = "[";
  for (const std::int32_t id : ids) {
    if (line.size() > 1)
      line += ',';
    line += std::to_string(id);
  }
  return line + "]\n";
}

std::vector<std::int32_t> read_ids(std::string_view line, std::int64_t vocabulary) {
  const auto wrong = [](const std::string& found, const std::string& want) {
    return input_error("found " + found + ", want " + want);
  };
  const nlohmann::json list = nlohmann::json::parse(line, nullptr, false);
  if (!list.is_array())
    throw wrong("no JSON array", "an array of token ids");
  std::vector<std::int32_t> ids;
  for (const nlohmann::json& id : list) {
    if (!id.is_number_integer() || id < 0 || id >= vocabulary)
      throw wrong(id.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace),
                  "a token id in [0, " + std::to_string(vocabulary) + ")");
    ids.push_back(id.get<std::int32_t>());
  }
  return ids;
}

std::string answer(const model::tokenizer& tok, const arguments& given, std::string_view line) {
  if (given.decode)
    return nlohmann::json(tok.decode(read_ids(line, tok.size()))).dump() + "\n";
  if (!given.json)
    return ids_line(tok.encode(line, given.add_special));
  const nlohmann::json text = nlohmann::json::parse(line, nullptr, false);
  if (!text.is_string())
    throw input_error("found no JSON string, want one");
  return ids_line(tok.encode(text.get_ref<const std::string&>(), given.add_special));
}

int run_tokenize(const arguments& given) {
  const auto tok = read_tokenizer(given.model);
  if (given.file.empty()) {
    std::fputs(answer(*tok, given, given.text).c_str(), stdout);
    return 0;
  }
  std::ifstream in(given.file, std::ios::binary);
  if (!in)
    throw input_error(given.file + ": cannot be read, want a text file");
  std::string line;
  for (std::int64_t number = 1; std::getline(in, line); ++number) {
    try {
      std::fputs(answer(*tok, given, line).c_str(), stdout);
    } catch (const input_error& e) {
      throw input_error(given.file + ":" + std::to_string(number) + ": " + e.what());
    }
  }
  return 0;
}

} // namespace

command add_tokenize(CLI::App& root) {
  const auto given = std::make_shared<arguments>();
  auto* app = root.add_subcommand("tokenize", "Print the token ids of text, one JSON array a line");
  app->add_option("MODEL", given->model, "a Hugging Face folder (its tokenizer.json is enough) or a .gguf file")->required();
  auto* source = app->add_option_group("what to read");
  source->add_option("--text", given->text, "one text");
  source->add_option("--file", given->file, "a UTF-8 file: each line, without its newline, is one text");
  source->require_option(1);
  app->add_flag("--decode", given->decode, "the other way: read JSON arrays of ids, print JSON strings");
  app->add_flag("--json", given->json, "each text is a JSON string, so that it can hold newlines");
  app->add_flag("--add-special", given->add_special, "add what the tokenizer puts around a text (BOS)");
  return [given] { return run_tokenize(*given); };
}

} // namespace millrace::tools
