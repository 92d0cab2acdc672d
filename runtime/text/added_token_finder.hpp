#pragma once

#include "runtime/text/pattern.hpp"
#include "runtime/text/tokenizer_data.hpp"

#include <array>
#include <cstdint>
#include <map>
#include <string_view>
#include <vector>

namespace millrace::text {

/// Finds added tokens in a text: leftmost first, of those that begin at one place the longest, never overlapping.
/// A token that is `single_word` and stands inside a word is passed over, with its text.
class added_token_finder {
public:
  /// A stretch of the text: an added token, or text between them (`id` < 0).
  struct piece {
    std::string_view text;
    std::int32_t id = -1;
  };

  /// Copies what it needs of `tokens`; those with empty content are never found.
  explicit added_token_finder(const std::vector<added_token>& tokens);

  bool empty() const { return nodes_.size() == 1; }

  /// Appends the pieces of `text` (valid UTF-8) in order; no piece of plain text is empty.
  void cut(std::string_view text, pattern::workspace& own, std::vector<piece>& pieces) const;

private:
  struct node {
    std::map<unsigned char, std::uint32_t> next;
    std::int32_t token = -1; ///< index into tokens_
  };

  struct entry {
    std::int32_t id;
    bool single_word, lstrip, rstrip;
  };

  bool touches_a_word(std::string_view text, std::size_t begin, std::size_t end, pattern::workspace& own) const;

  std::vector<entry> tokens_;
  std::vector<node> nodes_;
  std::array<bool, 256> begins_token_{};
  pattern word_before_;
  pattern word_after_;
  pattern space_after_;
};

} // namespace millrace::text
