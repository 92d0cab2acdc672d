#include "runtime/text/byte_alphabet.hpp"
#include "runtime/text/tokenizer.hpp"
#include "runtime/text/tokenizer_gguf.hpp"
#include "runtime/text/tokenizer_json.hpp"
#include "runtime/text/utf8.hpp"
#include "runtime/words/input_error.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <fstream>
#include <future>

namespace tokenizer_test {

using namespace millrace;
using namespace millrace::text;
using nlohmann::json;

namespace {

const std::filesystem::path golden_folder = "tests/golden/tokenizers";

std::shared_ptr<const tokenizer> golden(const std::string& kind) {
  return std::make_shared<const tokenizer>(read_tokenizer_json(golden_folder / kind / "tokenizer.json"));
}

/// A tokenizer small enough to redo by hand: 0 a, 1 b, 2 c, 3 space, 4 ab, 5 abc, 6 " a".
json by_hand() {
  return json::parse(R"({"model": {"type": "BPE",
      "vocab": {"a": 0, "b": 1, "c": 2, "Ġ": 3, "ab": 4, "abc": 5, "Ġa": 6},
      "merges": ["a b", "ab c", ["Ġ", "a"]]},
    "added_tokens": [{"id": 7, "content": "<e>", "special": true, "normalized": false}],
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
    "decoder": {"type": "ByteLevel"}})");
}

tokenizer made_of(const json& file) {
  return tokenizer(parse_tokenizer_json(file.dump(), "t.json"));
}

std::string refusal(const json& file) {
  try {
    made_of(file);
  } catch (const input_error& e) {
    return e.what();
  }
  return "";
}

using ids = std::vector<std::int32_t>;

} // namespace

TEST_CASE("tokenizer: merges the best pair first, the leftmost of equal ones, inside words only") {
  const tokenizer t = made_of(by_hand());
  CHECK(t.encode("") == ids{});
  CHECK(t.encode("abc") == ids{5});
  CHECK(t.encode("aab") == ids{0, 4});
  CHECK(t.encode("abab") == ids{4, 4});
  CHECK(t.encode("c ab") == ids{2, 3, 4}); // "a b" comes before "Ġ a"
  CHECK(t.encode("c ac") == ids{2, 6, 2});
  CHECK(t.encode("ab<e>c") == ids{4, 7, 2});
  CHECK(t.encode("a<e") == ids{0}); // the vocabulary has no "<" and no "e", and there is no unknown token
  CHECK(t.size() == 8);
  CHECK(t.id("abc") == 5);
  CHECK(t.id("<e>") == 7);
  CHECK_FALSE(t.id("x").has_value());
  CHECK(t.is_special(7));
  CHECK_FALSE(t.is_special(0));
  CHECK(t.bytes(6) == " a");
}

TEST_CASE("tokenizer: a word that is a token as a whole needs no merges where they are ignored") {
  json file = by_hand();
  file["model"]["merges"] = json::array();
  CHECK(made_of(file).encode("abc") == ids{0, 1, 2});
  file["model"]["ignore_merges"] = true;
  CHECK(made_of(file).encode("abc") == ids{5});
}

TEST_CASE("tokenizer: long words merge as short ones do") {
  const tokenizer t = made_of(by_hand());
  for (const std::size_t repeats : {15u, 16u, 17u, 400u}) {
    std::string text;
    for (std::size_t i = 0; i < repeats; ++i)
      text += "abc";
    CHECK(t.encode(text) == ids(repeats, 5));
    CHECK(t.encode(text + "b").back() == 1);
  }
}

TEST_CASE("tokenizer: an unknown byte becomes the unknown token where there is one") {
  json file = by_hand();
  file["model"]["unk_token"] = "c";
  CHECK(made_of(file).encode("ax") == ids{0, 2});
}

TEST_CASE("tokenizer: what a template puts around a text is added on request") {
  json file = by_hand();
  file["post_processor"] =
      json::parse(R"({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<e>", "type_id": 0}},
      {"Sequence": {"id": "A", "type_id": 0}}], "pair": [],
      "special_tokens": {"<e>": {"id": "<e>", "ids": [7], "tokens": ["<e>"]}}})");
  CHECK(made_of(file).encode("a", edges::special) == ids{7, 0});
  CHECK(made_of(file).encode("a") == ids{0});
}

TEST_CASE("tokenizer: text that is not UTF-8 is refused, naming the byte") {
  const tokenizer t = made_of(by_hand());
  CHECK_THROWS_WITH_AS(t.encode("ab\xff"), "text: found byte 3 that is not UTF-8, want UTF-8", input_error);
  CHECK_THROWS_AS(t.encode("\xed\xa0\x80"), input_error); // a surrogate
  CHECK_THROWS_AS(t.encode("\xc0\xaf"), input_error);     // an overlong slash
}

TEST_CASE("tokenizer: ids and texts equal those of Hugging Face tokenizers on hard lines") {
  for (const char* kind : {"smollm", "llama3", "qwen2", "odd"}) {
    CAPTURE(kind);
    const auto t = golden(kind);
    std::ifstream in(golden_folder / kind / "ids.jsonl");
    std::size_t lines = 0;
    for (std::string line; std::getline(in, line); ++lines) {
      const json row = json::parse(line);
      const std::string text = row["text"];
      CAPTURE(line);
      const ids found = t->encode(text);
      CHECK(found == row["ids"].get<ids>());
      CHECK(t->decode(found) == row.value("decoded", text));
    }
    CHECK(lines >= 80);
  }
}

TEST_CASE("text_stream: pieces end with whole characters and join to the decoded text") {
  for (const char* kind : {"smollm", "qwen2"}) {
    const auto t = golden(kind);
    const std::string text = "caf\u00e9 \u4e2d\u6587 \U0001f468\u200d\U0001f469 end";
    const ids all = t->encode(text);
    text_stream stream(t, specials::keep);
    std::string joined;
    for (const std::int32_t id : all) {
      const std::string piece = stream.push(id);
      CHECK(valid_utf8_prefix(piece) == piece.size());
      joined += piece;
    }
    CHECK(joined + stream.finish() == text);
  }
}

TEST_CASE("text_stream: a broken end is one replacement character, special tokens are left out") {
  const auto t = golden("qwen2");
  const ids emoji = t->encode("\U0001f9d1");
  REQUIRE(emoji.size() > 1);
  text_stream stream(t);
  CHECK(stream.push(*t->id("<|im_end|>")).empty());
  for (std::size_t i = 0; i + 1 < emoji.size(); ++i)
    CHECK(stream.push(emoji[i]).empty());
  CHECK(stream.finish() == "\ufffd");
  CHECK_THROWS_AS(stream.push(static_cast<std::int32_t>(t->size())), std::invalid_argument);
}

TEST_CASE("lossy_utf8: one replacement for each maximal invalid part") {
  CHECK(lossy_utf8("a\xf0\x9f\x98z") == "a\ufffdz");
  CHECK(lossy_utf8("\xff\xfe") == "\ufffd\ufffd");
  CHECK(lossy_utf8("\xe4\xb8") == "\ufffd");
  CHECK(lossy_utf8("\xed\xa0\x80") == "\ufffd\ufffd\ufffd");
  CHECK(lossy_utf8("\u00e9") == "\u00e9");
}

TEST_CASE("byte alphabet: every byte there and back, a space is U+0120") {
  for (int b = 0; b < 256; ++b) {
    const std::string byte(1, static_cast<char>(b));
    CHECK(from_byte_alphabet(to_byte_alphabet(byte)) == byte);
  }
  CHECK(to_byte_alphabet(" a\n") == "\u0120a\u010a");
  CHECK_FALSE(from_byte_alphabet("a b").has_value());
  CHECK_FALSE(from_byte_alphabet("\u4e2d").has_value());
}

TEST_CASE("tokenizer: NFC composes letters with marks and Hangul, and drops nothing") {
  const auto t = golden("qwen2");
  CHECK(t->encode("e\u0301") == t->encode("\u00e9"));
  CHECK(t->encode("\u1102\u116a") == t->encode("\ub194"));
  CHECK(t->decode(t->encode("\u1102\u116a\u11a7x\u11a7")) == "\ub194\u11a7x\u11a7");
}

TEST_CASE("tokenizer: several threads get the same ids") {
  const auto t = golden("llama3");
  std::string text;
  for (int i = 0; i < 3000; ++i)
    text += "word" + std::to_string(i * 7919) + (i % 3 ? " " : "\n");
  const ids alone = t->encode(text);
  std::vector<std::future<ids>> others;
  for (int i = 0; i < 4; ++i)
    others.push_back(std::async(std::launch::async, [&] { return t->encode(text); }));
  for (auto& other : others)
    CHECK(other.get() == alone);
}

TEST_CASE("tokenizer.json: written from the parts, it reads as the same tokenizer") {
  for (const char* kind : {"smollm", "llama3", "qwen2", "odd"}) {
    tokenizer_data data = read_tokenizer_json(golden_folder / kind / "tokenizer.json");
    CHECK(write_tokenizer_json(data) == data.source_json);
    data.source_json.clear();
    const tokenizer_data again = parse_tokenizer_json(write_tokenizer_json(data), "again");
    CHECK(again.vocabulary == data.vocabulary);
    CHECK(again.merges == data.merges);
    CHECK((again.pre_tokenizer == data.pre_tokenizer));
    CHECK(again.prefix == data.prefix);
    CHECK(again.nfc == data.nfc);
    CHECK(again.ignore_merges == data.ignore_merges);
    REQUIRE(again.added.size() == data.added.size());
    for (std::size_t i = 0; i < data.added.size(); ++i) {
      CHECK(again.added[i].content == data.added[i].content);
      CHECK(again.added[i].id == data.added[i].id);
      CHECK(again.added[i].lstrip == data.added[i].lstrip);
      CHECK(again.added[i].normalized == data.added[i].normalized);
    }
  }
}

TEST_CASE("tokenizer.json: a part that is not supported is named in one line") {
  const auto with = [](const char* pointer, const json& value) {
    json file = by_hand();
    file[json::json_pointer(pointer)] = value;
    return refusal(file);
  };
  CHECK(with("/model/type", "Unigram") == "t.json: model.type: found the model \"Unigram\", want BPE");
  CHECK(with("/model/type", "WordPiece") == "t.json: model.type: found the model \"WordPiece\", want BPE");
  CHECK(with("/model/byte_fallback", true)
        == "t.json: model.byte_fallback: found true, want false: a byte-level BPE has no use for it");
  CHECK(with("/pre_tokenizer/type", "Metaspace")
        == "t.json: pre_tokenizer.type: found the pre-tokenizer \"Metaspace\", want ByteLevel, Split, Digits or a "
           "Sequence of them");
  CHECK(with("/normalizer", {{"type", "Lowercase"}})
        == "t.json: normalizer.type: found the normalizer \"Lowercase\", want NFC or none");
  CHECK(with("/post_processor", {{"type", "BertProcessing"}})
        == "t.json: post_processor.type: found the post-processor \"BertProcessing\", want TemplateProcessing, "
           "ByteLevel or none");
  CHECK(with("/decoder/type", "WordPiece") == "t.json: decoder: found another than ByteLevel, want ByteLevel");
}

TEST_CASE("tokenizer.json: hostile values are refused, each in one line") {
  const auto with = [](const char* pointer, const json& value) {
    json file = by_hand();
    file[json::json_pointer(pointer)] = value;
    return refusal(file);
  };
  CHECK(with("/model/vocab/a", -1) == "t.json: model.vocab.\"a\": found -1, want an id in [0, 4194303]");
  CHECK(with("/model/vocab/a", 1ull << 63)
        == "t.json: model.vocab.\"a\": found 9223372036854775808, want an id in [0, 4194303]");
  CHECK(with("/model/vocab/a", 1.5) == "t.json: model.vocab.\"a\": found 1.5, want an id in [0, 4194303]");
  CHECK(with("/model/vocab/a", 1)
        == "t.json: model.vocab.\"b\": found id 1, which \"a\" has too, want an id of its own");
  CHECK(with("/model/merges/0", "a x")
        == "t.json: merge 0: \"a\" + \"x\": found no token \"x\", want one in the vocabulary");
  CHECK(with("/model/merges/0", "b a")
        == "t.json: merge 0: \"b\" + \"a\": found no token \"ba\", want one in the vocabulary");
  CHECK(with("/model/merges/0", "ab")
        == "t.json: model.merges[0]: found \"ab\", want two tokens, \"a b\" or [\"a\", \"b\"]");
  CHECK(with("/model/merges/0", 5) == "t.json: model.merges[0]: found 5, want two tokens, \"a b\" or [\"a\", \"b\"]");
  CHECK(with("/model/unk_token", "nope") == "t.json: model.unk_token: found \"nope\", want a token of the vocabulary");
  CHECK(with("/added_tokens/0/id", 0) == "t.json: id 0: found two tokens, the second \"<e>\", want one");
  CHECK(with("/added_tokens/0/content", "a") == "t.json: token \"a\": found ids 0 and 7, want one");
  CHECK(with("/added_tokens/0/content", "") == "t.json: added_tokens[0].content: found an empty token, want text");
  CHECK(with("/added_tokens/0/special", "yes") == "t.json: added_tokens[0].special: found \"yes\", want true or false");
  CHECK(with("/pre_tokenizer",
             json::parse(R"({"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": "(a"},
      "behavior": "Isolated", "invert": false}, {"type": "ByteLevel"}]})"))
        == "t.json: pattern: found \"(a\" (missing closing parenthesis), want a regular expression");
  CHECK_THROWS_AS(parse_tokenizer_json("{\"model\": ", "t.json"), input_error);
  CHECK_THROWS_AS(parse_tokenizer_json("[1]", "t.json"), input_error);
  CHECK_THROWS_AS(parse_tokenizer_json(std::string(100'000, '['), "t.json"), input_error);
  CHECK_THROWS_AS(read_tokenizer_json("tests/golden/no such file"), input_error);
}

TEST_CASE("tokenizer.json: cut or injured anywhere, it is read or refused, never worse") {
  const std::string whole = by_hand().dump();
  std::size_t refused = 0;
  for (std::size_t at = 0; at < whole.size(); ++at)
    for (const std::string& text : {whole.substr(0, at), whole.substr(0, at) + '\x80' + whole.substr(at + 1),
                                    whole.substr(0, at) + '0' + whole.substr(at + 1)}) {
      try {
        tokenizer(parse_tokenizer_json(text, "t.json")).encode("abc c");
      } catch (const input_error&) {
        ++refused;
      }
    }
  CHECK(refused >= 2 * whole.size());
}

TEST_CASE("tokenizer.json: ids may have holes, whose text is empty") {
  json file = by_hand();
  file["model"]["vocab"]["c"] = 20;
  const tokenizer t = made_of(file);
  CHECK(t.size() == 21);
  CHECK(t.encode("c") == ids{20});
  CHECK(t.bytes(2).empty());
  CHECK(t.decode(ids{2, 20}) == "c");
}

TEST_CASE("tokenizer: a catastrophic pattern ends in an error") {
  json file = by_hand();
  file["pre_tokenizer"] = json::parse(R"({"type": "Sequence", "pretokenizers": [{"type": "Split",
      "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": false}, {"type": "ByteLevel"}]})");
  CHECK_THROWS_AS(made_of(file).encode(std::string(60, 'a') + "b"), input_error);
}

TEST_CASE("tokenizer_from_gguf: the same as the tokenizer.json of the same vocabulary") {
  const tokenizer_data data = read_tokenizer_json(golden_folder / "smollm" / "tokenizer.json");
  gguf_vocabulary entries;
  entries.origin = "m.gguf";
  entries.model = "gpt2";
  entries.pre = "smollm";
  entries.tokens = data.vocabulary;
  entries.token_types.assign(data.vocabulary.size(), 1);
  for (const added_token& token : data.added)
    entries.token_types[static_cast<std::size_t>(token.id)] = 3;
  for (const auto& [left, right] : data.merges)
    entries.merges.push_back(left + " " + right);
  const tokenizer from_json(data);
  const tokenizer from_gguf(tokenizer_from_gguf(entries));
  const std::string text = "<|im_start|>user\nIn 2024, it's 3.14!<|im_end|>";
  CHECK(from_gguf.encode(text) == from_json.encode(text));
  CHECK(from_gguf.is_special(*from_gguf.id("<|im_end|>")));

  entries.pre = "viking";
  CHECK_THROWS_WITH_AS(
      tokenizer_from_gguf(entries),
      "m.gguf: tokenizer.ggml.pre: found \"viking\", want one of gpt-2, smollm, llama-bpe, llama3, llama-v3, qwen2, "
      "deepseek-r1-qwen",
      input_error);
  entries.model = "llama";
  CHECK_THROWS_WITH_AS(tokenizer_from_gguf(entries),
                       "m.gguf: tokenizer.ggml.model: found \"llama\", want \"gpt2\" (byte-level BPE)", input_error);
}

} // namespace tokenizer_test
