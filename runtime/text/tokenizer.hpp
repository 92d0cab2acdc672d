#pragma once

#include "runtime/text/tokenizer_data.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::text {

/// Whether encoding also adds what the tokenizer's template puts in front of a text and behind it (BOS).
enum class edges { bare, special };

/// Whether decoding writes special tokens.
enum class specials { keep, skip };

/// Byte-level BPE (GPT-2, SmolLM2, Llama 3, Qwen): text to token ids and back, equal to Hugging Face `tokenizers`.
///
/// All members may be called from several threads at once.
class tokenizer {
public:
  /// @throws input_error (`data.origin`: ...) for parts that contradict each other
  explicit tokenizer(tokenizer_data data);
  ~tokenizer();
  tokenizer(const tokenizer&) = delete;
  tokenizer& operator=(const tokenizer&) = delete;

  /// The ids of `text`. Added tokens that stand in the text are recognised, special or not.
  ///
  /// @throws input_error if `text` is not UTF-8: the peers take only valid strings, so there is no id to agree on
  std::vector<std::int32_t> encode(std::string_view text, edges around = edges::bare) const;

  /// The text of `ids`. Bytes that are not UTF-8 become U+FFFD, one per maximal invalid part.
  ///
  /// @throws std::invalid_argument for an id that is not in [0, size()); an id in a hole of the vocabulary has no text
  std::string decode(std::span<const std::int32_t> ids, specials how = specials::keep) const;

  /// The bytes that `id` stands for, which may be a part of a character.
  /// @throws std::invalid_argument for an id that is not in [0, size())
  std::string_view bytes(std::int32_t id) const;

  /// Whether `id` is an added token marked special.
  bool is_special(std::int32_t id) const;

  /// One more than the largest id: a model needs at least that many rows.
  std::int64_t size() const;

  /// The id of a token as it is written in the vocabulary (byte-level alphabet) or in the added tokens.
  std::optional<std::int32_t> id(std::string_view token) const;

  const tokenizer_data& data() const;

private:
  struct state;
  std::unique_ptr<state> state_;
};

/// Turns a growing sequence of ids into text without ever ending inside a character.
class text_stream {
public:
  explicit text_stream(std::shared_ptr<const tokenizer> source, specials how = specials::skip);

  /// The text that `id` completes; "" while a character is incomplete.
  std::string push(std::int32_t id);

  /// What is still held back, as U+FFFD. The pieces of all calls, joined, are `decode` of all ids.
  std::string finish();

private:
  std::shared_ptr<const tokenizer> source_;
  std::string held_;
  specials how_;
};

} // namespace millrace::text
