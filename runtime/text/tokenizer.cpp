#include "runtime/text/tokenizer.hpp"

#include "runtime/text/added_token_finder.hpp"
#include "runtime/text/byte_alphabet.hpp"
#include "runtime/text/byte_pair_encoder.hpp"
#include "runtime/text/pre_tokenizer.hpp"
#include "runtime/text/utf8.hpp"
#include "runtime/words/input_error.hpp"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <stdexcept>
#include <unordered_map>

namespace millrace::text {
namespace {

constexpr std::int32_t largest_id = (1 << 22) - 1;
constexpr std::size_t longest_remembered_word = 64; // bytes
constexpr std::size_t most_remembered_words = 1u << 16;

/// Appends the NFC of `text` (valid UTF-8) to `out`.
void append_nfc(std::string_view text, std::string& out) {
  utf8proc_uint8_t* composed = nullptr;
  const utf8proc_ssize_t length =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), static_cast<utf8proc_ssize_t>(text.size()),
                   &composed, static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  if (length < 0)
    throw std::runtime_error(std::string("NFC: ") + utf8proc_errmsg(length));
  out.append(reinterpret_cast<const char*>(composed), static_cast<std::size_t>(length));
  std::free(composed);
}

/// `text` (valid UTF-8) in NFC. Characters below U+0300 neither decompose nor combine with each other. U+11A7 combines
/// with nothing, but utf8proc 2.8 swallows it behind a Hangul syllable: the text is composed in the parts between.
std::string_view to_nfc(std::string_view text, std::string& storage) {
  constexpr std::string_view apart = "\u11a7";
  if (std::none_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) >= 0xCC; }))
    return text;
  storage.clear();
  for (std::size_t at = text.find(apart); at != std::string_view::npos; at = text.find(apart)) {
    append_nfc(text.substr(0, at), storage);
    storage += apart;
    text.remove_prefix(at + apart.size());
  }
  append_nfc(text, storage);
  return storage;
}

/// The text that added tokens are looked for in.
enum class sought_in { raw_text, normalized_text };

std::vector<added_token> tokens_sought(const tokenizer_data& data, sought_in where) {
  const bool normalized = where == sought_in::normalized_text;
  std::vector<added_token> sought;
  for (added_token token : data.added)
    if (token.normalized == normalized) {
      std::string storage;
      if (normalized && data.nfc)
        token.content = std::string(to_nfc(token.content, storage));
      sought.push_back(std::move(token));
    }
  return sought;
}

/// A token as decoding writes it: one that is not in the byte-level alphabet (an added token) stands for itself.
std::string bytes_of(std::string_view token) {
  return from_byte_alphabet(token).value_or(std::string(token));
}

void require_id(const tokenizer_data& data, std::int64_t id, const std::string& what) {
  if (id < 0 || id > largest_id)
    throw input_error(data.origin + ": " + what + ": found id " + std::to_string(id) + ", want one in [0, "
                      + std::to_string(largest_id) + "]");
}

} // namespace

struct tokenizer::state {
  struct text_hash {
    using is_transparent = void;

    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };

  using word_memory = std::unordered_map<std::string, std::vector<std::int32_t>, text_hash, std::equal_to<>>;

  /// What one call of `encode` needs. Lent to one thread at a time.
  struct workspace {
    pre_tokenizer::workspace cutting;
    std::vector<std::string_view> words;
    std::vector<added_token_finder::piece> raw_pieces;
    std::vector<added_token_finder::piece> pieces;
    word_memory memory;
    std::string normalized;
  };

  tokenizer_data data;
  byte_pair_encoder encoder;
  pre_tokenizer cutter;
  added_token_finder raw_tokens;
  added_token_finder normalized_tokens;
  std::vector<std::string> bytes; ///< by id
  std::vector<bool> special;      ///< by id
  std::unordered_map<std::string, std::int32_t, text_hash, std::equal_to<>> ids;
  std::mutex idle_lock;
  std::vector<std::unique_ptr<workspace>> idle;

  explicit state(tokenizer_data from)
      : data(std::move(from)), encoder(data), cutter(data.pre_tokenizer, data.origin),
        raw_tokens(tokens_sought(data, sought_in::raw_text)),
        normalized_tokens(tokens_sought(data, sought_in::normalized_text)) {
    if (data.vocabulary.empty())
      throw input_error(data.origin + ": vocabulary: found no token, want at least one");
    require_id(data, static_cast<std::int64_t>(data.vocabulary.size()) - 1, "vocabulary");
    for (std::size_t id = 0; id < data.vocabulary.size(); ++id)
      if (!data.vocabulary[id].empty())
        name(static_cast<std::int32_t>(id), data.vocabulary[id]);
    for (const added_token& token : data.added) {
      require_id(data, token.id, "added token \"" + token.content + "\"");
      name(token.id, token.content);
      special[static_cast<std::size_t>(token.id)] = token.special;
      std::string storage;
      if (token.normalized && data.nfc)
        bytes[static_cast<std::size_t>(token.id)] = bytes_of(to_nfc(token.content, storage));
    }
    for (const auto& [what, id] : {std::pair{"bos", data.bos}, {"eos", data.eos}, {"pad", data.pad}})
      if (id && (*id < 0 || static_cast<std::size_t>(*id) >= bytes.size()))
        throw input_error(data.origin + ": " + what + ": found id " + std::to_string(*id) + ", want one below "
                          + std::to_string(bytes.size()));
    for (const auto* const list : {&data.prefix, &data.suffix})
      for (const std::int32_t id : *list)
        if (id < 0 || static_cast<std::size_t>(id) >= bytes.size())
          throw input_error(data.origin + ": post-processor: found id " + std::to_string(id) + ", want one below "
                            + std::to_string(bytes.size()));
  }

  void name(std::int32_t id, const std::string& token) {
    const auto at = static_cast<std::size_t>(id);
    if (bytes.size() <= at) {
      bytes.resize(at + 1);
      special.resize(at + 1);
    }
    const auto [entry, is_new] = ids.emplace(token, id);
    if (!is_new && entry->second != id)
      throw input_error(data.origin + ": token \"" + token + "\": found ids " + std::to_string(entry->second) + " and "
                        + std::to_string(id) + ", want one");
    if (!is_new)
      return;
    if (!bytes[at].empty())
      throw input_error(data.origin + ": id " + std::to_string(id) + ": found two tokens, the second \"" + token
                        + "\", want one");
    bytes[at] = bytes_of(token);
  }

  std::unique_ptr<workspace> borrow() {
    const std::lock_guard lock(idle_lock);
    if (idle.empty())
      return std::make_unique<workspace>();
    std::unique_ptr<workspace> own = std::move(idle.back());
    idle.pop_back();
    return own;
  }

  void give_back(std::unique_ptr<workspace> own) {
    const std::lock_guard lock(idle_lock);
    idle.push_back(std::move(own));
  }

  void encode_words(std::string_view text, workspace& own, std::vector<std::int32_t>& out) const {
    cutter.cut(text, own.cutting, own.words);
    for (const std::string_view word : own.words) {
      if (word.size() > longest_remembered_word) {
        encoder.encode(word, out);
        continue;
      }
      auto known = own.memory.find(word);
      if (known == own.memory.end()) {
        if (own.memory.size() == most_remembered_words)
          own.memory.clear();
        std::vector<std::int32_t> made;
        encoder.encode(word, made);
        known = own.memory.emplace(std::string(word), std::move(made)).first;
      }
      out.insert(out.end(), known->second.begin(), known->second.end());
    }
  }

  void encode(std::string_view text, workspace& own, std::vector<std::int32_t>& out) const {
    own.raw_pieces.clear();
    raw_tokens.cut(text, own.cutting.matching, own.raw_pieces);
    for (const added_token_finder::piece& raw : own.raw_pieces) {
      if (raw.id >= 0) {
        out.push_back(raw.id);
        continue;
      }
      const std::string_view plain = data.nfc ? to_nfc(raw.text, own.normalized) : raw.text;
      if (normalized_tokens.empty()) {
        encode_words(plain, own, out);
        continue;
      }
      own.pieces.clear();
      normalized_tokens.cut(plain, own.cutting.matching, own.pieces);
      for (const added_token_finder::piece& piece : own.pieces) {
        if (piece.id >= 0)
          out.push_back(piece.id);
        else
          encode_words(piece.text, own, out);
      }
    }
  }
};

tokenizer::tokenizer(tokenizer_data data) : state_(std::make_unique<state>(std::move(data))) {
}

tokenizer::~tokenizer() = default;

std::vector<std::int32_t> tokenizer::encode(std::string_view text, edges around) const {
  if (const std::size_t good = valid_utf8_prefix(text); good != text.size())
    throw input_error("text: found byte " + std::to_string(good + 1) + " that is not UTF-8, want UTF-8");
  std::vector<std::int32_t> out;
  out.reserve(text.size() / 3 + 4);
  if (around == edges::special)
    out = state_->data.prefix;
  std::unique_ptr<state::workspace> own = state_->borrow();
  state_->encode(text, *own, out);
  state_->give_back(std::move(own));
  if (around == edges::special)
    out.insert(out.end(), state_->data.suffix.begin(), state_->data.suffix.end());
  return out;
}

std::string_view tokenizer::bytes(std::int32_t id) const {
  if (id < 0 || id >= size())
    throw std::invalid_argument("token id: got " + std::to_string(id) + ", want one in [0, " + std::to_string(size())
                                + ")");
  return state_->bytes[static_cast<std::size_t>(id)];
}

std::string tokenizer::decode(std::span<const std::int32_t> ids, specials how) const {
  std::string joined;
  for (const std::int32_t id : ids) {
    const std::string_view part = bytes(id);
    if (how == specials::keep || !is_special(id))
      joined += part;
  }
  return lossy_utf8(joined);
}

bool tokenizer::is_special(std::int32_t id) const {
  return id >= 0 && id < size() && state_->special[static_cast<std::size_t>(id)];
}

std::int64_t tokenizer::size() const {
  return static_cast<std::int64_t>(state_->bytes.size());
}

std::optional<std::int32_t> tokenizer::id(std::string_view token) const {
  const auto found = state_->ids.find(token);
  return found == state_->ids.end() ? std::nullopt : std::optional(found->second);
}

std::optional<std::int32_t> token_id(const tokenizer_data& data, std::string_view token) {
  for (const auto& added : data.added)
    if (added.content == token)
      return added.id;
  const auto found = std::ranges::find(data.vocabulary, token);
  if (token.empty() || found == data.vocabulary.end())
    return std::nullopt;
  return static_cast<std::int32_t>(found - data.vocabulary.begin());
}

const tokenizer_data& tokenizer::data() const {
  return state_->data;
}

text_stream::text_stream(std::shared_ptr<const tokenizer> source, specials how)
    : source_(std::move(source)), how_(how) {
}

std::string text_stream::push(std::int32_t id) {
  std::string text;
  const std::string_view part = source_->bytes(id);
  if (how_ == specials::skip && source_->is_special(id))
    return text;
  held_ += part;
  take_characters(held_, text);
  return text;
}

std::string text_stream::finish() {
  std::string text = lossy_utf8(held_);
  held_.clear();
  return text;
}

} // namespace millrace::text
