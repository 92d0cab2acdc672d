#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace millrace::text {

/// A token that is found in the text before anything else looks at it (control tokens, mostly).
struct added_token {
  std::int32_t id = 0;
  std::string content;      ///< UTF-8, as it stands in the text
  bool single_word = false; ///< only where no word character touches it
  bool lstrip = false;      ///< takes the white space on its left with it
  bool rstrip = false;      ///< takes the white space on its right with it
  bool normalized = false;  ///< looked for in the normalised text instead of the raw one
  bool special = false;     ///< left out by `decode(..., specials::skip)`
};

/// One step of cutting text into words. The steps run in order, each on the pieces of the step before.
struct pre_tokenizer_step {
  enum class kind : std::uint8_t {
    split,      ///< cut at the matches of `pattern`
    digits,     ///< cut out digits: each alone if `individual_digits`, else runs of them
    byte_level, ///< map bytes to the byte-level alphabet, after cutting by GPT-2's pattern if `use_regex`
  };
  enum class behavior : std::uint8_t { isolated, removed, merged_with_previous, merged_with_next, contiguous };

  kind what = kind::byte_level;
  std::string pattern;               ///< split: a regular expression, or a literal where `literal`
  bool literal = false;              ///< split: `pattern` is plain text
  bool invert = false;               ///< split: the matches are the words and the rest is the separator
  behavior cut = behavior::isolated; ///< split: what becomes of the separator
  bool individual_digits = false;    ///< digits
  bool add_prefix_space = false;     ///< byte_level: a space before a text that begins with none
  bool use_regex = true;             ///< byte_level

  bool operator==(const pre_tokenizer_step&) const = default;
};

/// Everything a byte-level BPE tokenizer is made of, as plain values: what `read_tokenizer_json` and
/// `tokenizer_from_gguf` fill and what `tokenizer` is built from.
struct tokenizer_data {
  std::string origin;                                      ///< the file, for error lines
  std::vector<std::string> vocabulary;                     ///< id -> token in the byte-level alphabet; "" = no such id
  std::vector<std::pair<std::string, std::string>> merges; ///< best first
  std::vector<added_token> added;                          ///< their ids may lie inside or past `vocabulary`
  std::vector<pre_tokenizer_step> pre_tokenizer;           ///< the last is `byte_level`
  bool nfc = false;                                        ///< normalise to NFC first
  bool ignore_merges = false;                              ///< a word that is a token needs no merges (Llama 3)
  std::vector<std::int32_t> prefix;                        ///< what `encode(text, edges::special)` puts in front
  std::vector<std::int32_t> suffix;                        ///< what `encode(text, edges::special)` puts behind
  std::optional<std::int32_t> bos;
  std::optional<std::int32_t> eos;
  std::optional<std::int32_t> pad;
  std::optional<std::int32_t> unknown; ///< stands for a byte the vocabulary lacks; absent: such a byte is dropped
  std::string source_json; ///< the tokenizer.json this was read from, byte for byte; "" if it came from elsewhere
};

/// The id of a token as it is written among the added tokens or, in the byte-level alphabet, in the vocabulary.
std::optional<std::int32_t> token_id(const tokenizer_data& data, std::string_view token);

} // namespace millrace::text
