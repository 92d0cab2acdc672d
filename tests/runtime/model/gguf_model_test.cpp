#include "runtime/model/checkpoint.hpp"
#include "tests/support/temporary_folder.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <cstring>
#include <string>
#include <vector>

namespace gguf_model_test {

namespace {

using namespace millrace;
using ids = std::vector<std::int32_t>;

constexpr std::uint32_t uint32_kind = 4, int32_kind = 5, string_kind = 8, list_kind = 9;

/// More metadata for a GGUF file that is there already.
class more_metadata {
public:
  void text(const std::string& key, const std::string& value) {
    begin(key, string_kind);
    put(value);
  }

  void number(const std::string& key, std::uint32_t value) {
    begin(key, uint32_kind);
    put(value);
  }

  void texts(const std::string& key, const std::vector<std::string>& values) {
    begin_list(key, string_kind, values.size());
    for (const auto& value : values)
      put(value);
  }

  void numbers(const std::string& key, const std::vector<std::int32_t>& values) {
    begin_list(key, int32_kind, values.size());
    for (const auto value : values)
      put(value);
  }

  /// @returns the file with these entries in front of its own
  std::string put_into(std::string file) {
    constexpr std::size_t count_at = 16, first_entry = 24, alignment = 32;
    const std::size_t rest = (bytes_.size() + 8 + 1 + 4 + 8) % alignment; // with an entry that fills up to it
    text("f", std::string((alignment - rest) % alignment, ' '));
    std::uint64_t count = 0;
    std::memcpy(&count, file.data() + count_at, sizeof count);
    count += entries_;
    std::memcpy(file.data() + count_at, &count, sizeof count);
    return file.insert(first_entry, bytes_);
  }

private:
  template <class T>
  void put(const T& value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }

  void put(const std::string& value) {
    put(static_cast<std::uint64_t>(value.size()));
    bytes_ += value;
  }

  void begin(const std::string& key, std::uint32_t kind) {
    ++entries_;
    put(key);
    put(kind);
  }

  void begin_list(const std::string& key, std::uint32_t kind, std::size_t count) {
    begin(key, list_kind);
    put(kind);
    put(static_cast<std::uint64_t>(count));
  }

  std::string bytes_;
  std::uint64_t entries_ = 0;
};

/// The golden llama, whose end of text is token 2, with a tokenizer whose token 5 is <|im_end|>.
more_metadata with_tokenizer() {
  more_metadata more;
  std::vector<std::string> tokens;
  for (int i = 0; i < 96; ++i)
    tokens.push_back(i == 5 ? "<|im_end|>" : "t" + std::to_string(i));
  ids types(96, 1);
  types[5] = 3;
  more.text("tokenizer.ggml.model", "gpt2");
  more.text("tokenizer.ggml.pre", "gpt-2");
  more.texts("tokenizer.ggml.tokens", tokens);
  more.numbers("tokenizer.ggml.token_type", types);
  more.texts("tokenizer.ggml.merges", {});
  return more;
}

model::checkpoint loaded(more_metadata more) {
  const tests::temporary_folder folder;
  tests::write_file(folder / "m.gguf", more.put_into(tests::read_file("tests/golden/models/gguf/llama3.gguf")));
  return model::load_checkpoint(folder / "m.gguf");
}

} // namespace

TEST_CASE("gguf model: an answer ends with its ends of text, turn and message, and the template's end of turn") {
  CHECK(loaded(with_tokenizer()).config.eos_ids == ids{2});
  auto more = with_tokenizer();
  more.number("tokenizer.ggml.eot_token_id", 7);
  more.number("tokenizer.ggml.eom_token_id", 400); // outside the vocabulary
  more.text("tokenizer.chat_template", tests::read_file("tests/golden/models/tiny-chat/chat_template.jinja"));
  const auto model = loaded(more);
  CHECK(model.config.eos_ids == ids{2, 7, 5});
  CHECK(model.generation.eos_ids == model.config.eos_ids);
  auto named = loaded(with_tokenizer());
  model::use_chat_template(named, "chatml");
  CHECK(named.config.eos_ids == ids{2, 5});
}

TEST_CASE("gguf model: a folder that is written of it names all of its end tokens") {
  auto more = with_tokenizer();
  more.text("tokenizer.chat_template", tests::read_file("tests/golden/models/tiny-chat/chat_template.jinja"));
  const tests::temporary_folder folder;
  model::save_checkpoint(folder / "m", loaded(more));
  for (const char* file : {"config.json", "generation_config.json"})
    CHECK(nlohmann::json::parse(tests::read_file(folder / "m" / file))["eos_token_id"] == nlohmann::json{2, 5});
}

} // namespace gguf_model_test
