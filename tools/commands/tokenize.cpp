#include "runtime/formats/strict_json.hpp"
#include "runtime/formats/text_lines.hpp"
#include "runtime/model/checkpoint.hpp"
#include "runtime/text/tokenizer_json.hpp"
#include "runtime/words/input_error.hpp"
#include "tools/command.hpp"

#include <nlohmann/json.hpp>

#include <cstdio>
#include <filesystem>
#include <memory>

namespace millrace::tools {
namespace {

struct tokenize_arguments {
  std::string model, text, file;
  bool decode = false;
  bool json = false;
  bool add_special = false;
};

/// A folder's tokenizer.json needs no weights or config.json beside it.
std::shared_ptr<const text::tokenizer> read_tokenizer(const std::filesystem::path& path) {
  if (std::filesystem::is_directory(path))
    return std::make_shared<const text::tokenizer>(text::read_tokenizer_json(path / "tokenizer.json"));
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
  const nlohmann::json list = formats::json_or_discarded(line);
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

std::string answer(const text::tokenizer& tok, const tokenize_arguments& given, std::string_view line) {
  if (given.decode)
    return formats::json_line(tok.decode(read_ids(line, tok.size()))) + "\n";
  if (!given.json)
    return ids_line(tok.encode(line, given.add_special ? text::edges::special : text::edges::bare));
  const nlohmann::json text = formats::json_or_discarded(line);
  if (!text.is_string())
    throw input_error("found no JSON string, want one");
  return ids_line(
      tok.encode(text.get_ref<const std::string&>(), given.add_special ? text::edges::special : text::edges::bare));
}

int run_tokenize(const tokenize_arguments& given) {
  const auto tok = read_tokenizer(given.model);
  if (given.file.empty()) {
    std::fputs(answer(*tok, given, given.text).c_str(), stdout);
    return 0;
  }
  formats::text_lines lines(given.file, "a text file");
  for (std::string line; lines.next(line);) {
    try {
      std::fputs(answer(*tok, given, line).c_str(), stdout);
    } catch (const input_error& e) {
      throw input_error(lines.where() + ": " + e.what());
    }
  }
  return 0;
}

} // namespace

command tokenize_command() {
  const auto given = std::make_shared<tokenize_arguments>();
  return {.name = "tokenize",
          .help = "Print the token ids of text, one JSON array a line",
          .arguments = {{.name = "MODEL",
                         .to = &given->model,
                         .help = "a Hugging Face folder (its tokenizer.json is enough) or a .gguf file",
                         .required = true},
                        {.name = "--decode",
                         .to = &given->decode,
                         .help = "the other way: read JSON arrays of ids, print JSON strings"},
                        {.name = "--json",
                         .to = &given->json,
                         .help = "each text is a JSON string, so that it can hold newlines"},
                        {.name = "--add-special",
                         .to = &given->add_special,
                         .help = "add what the tokenizer puts around a text (BOS)"}},
          .choices = {{.name = "what to read",
                       .help = "",
                       .arguments = {{.name = "--text", .to = &given->text, .help = "one text"},
                                     {.name = "--file",
                                      .to = &given->file,
                                      .help = "a UTF-8 file: each line, without its newline, is one text"}}}},
          .run = [given] { return run_tokenize(*given); }};
}

} // namespace millrace::tools
