#pragma once

#include "runtime/text/tokenizer_data.hpp"

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace millrace::text {

/// Byte-pair merging of one word: starting from its bytes, the neighbours whose merge stands first in the list (of
/// equal ones the leftmost) become one token, until no two neighbours merge.
///
/// A byte that the vocabulary lacks becomes the unknown token, or nothing where there is none, as in `tokenizers`.
class byte_pair_encoder {
public:
  /// @throws input_error if a merge or the unknown token names no token of the vocabulary
  explicit byte_pair_encoder(const tokenizer_data& data);

  /// Appends the ids of `word` (raw bytes) to `ids`. Cost: n log n in the length of the word.
  void encode(std::string_view word, std::vector<std::int32_t>& ids) const;

private:
  struct merge {
    std::uint64_t pair; ///< left id in the high half; `no_pair` = free slot
    std::int32_t rank;
    std::int32_t id;
  };

  static constexpr std::uint64_t no_pair = ~std::uint64_t{0};

  const merge* find(std::int32_t left, std::int32_t right) const;
  void add(std::int32_t left, std::int32_t right, std::int32_t rank, std::int32_t id);
  void encode_short(std::vector<std::int32_t>& ids, std::size_t from) const;
  void encode_long(std::vector<std::int32_t>& ids, std::size_t from) const;

  std::array<std::int32_t, 256> byte_ids_;                    ///< -1 = dropped
  std::vector<merge> table_;                                  ///< open addressing, a power of two of slots
  std::unordered_map<std::string, std::int32_t> whole_words_; ///< only with ignore_merges
};

} // namespace millrace::text
