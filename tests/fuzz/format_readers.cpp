#include "runtime/formats/gguf.hpp"
#include "runtime/formats/safetensors.hpp"
#include "runtime/formats/strict_json.hpp"
#include "tests/fuzz/readers.hpp"
#include "tests/support/temporary_folder.hpp"

#include <nlohmann/json.hpp>

namespace millrace::fuzz {
namespace {

using tests::read_file;
using tests::write_file;

const std::string json_text = R"({"a": [1, -2, 3.5e7, "x\u00e9\n", null, true, {"b": {}}],
  "c": {"d": [[], [{}, [0]]], "e": "long enough to be cut somewhere in its middle"}})";

} // namespace

readers format_readers(const std::filesystem::path& scratch) {
  const auto tensors = scratch / "one.safetensors", gguf = scratch / "one.gguf";
  return {
      {.name = "JSON",
       .whole = {json_text, read_file("tests/golden/models/llama3/config.json")},
       .read =
           [](const std::string& bytes) {
             const auto value = formats::parse_json(bytes, "a.json");
             if (formats::parse_json(value.dump(), "again.json") != value)
               throw std::logic_error("another value is read from what was written of it");
           }},
      {.name = "JSON in order",
       .whole = {json_text},
       .read = [](const std::string& bytes) { formats::parse_json<nlohmann::ordered_json>(bytes, "a.json"); }},
      {.name = "safetensors",
       .whole = {read_file("tests/golden/models/adapter/adapter_model.safetensors"),
                 read_file("tests/golden/models/score_llama/model.safetensors")},
       .read =
           [tensors](const std::string& bytes) {
             write_file(tensors, bytes);
             const formats::safetensors_file file(tensors);
             for (const auto& tensor : file.tensors())
               if (file.find(tensor.name) != &tensor)
                 throw std::logic_error("a tensor is not found by its name");
           }},
      {.name = "GGUF", .whole = {read_file("tests/golden/models/gguf/llama3.gguf")}, .read = [gguf](const auto& bytes) {
         write_file(gguf, bytes);
         const formats::gguf_file file(gguf);
         for (const auto& tensor : file.tensors())
           if (file.find(tensor.name) != &tensor)
             throw std::logic_error("a tensor is not found by its name");
       }}};
}

} // namespace millrace::fuzz
