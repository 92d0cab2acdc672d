#pragma once

#include "runtime/text/pattern.hpp"
#include "runtime/text/tokenizer_data.hpp"

#include <deque>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::text {

/// GPT-2's word pattern, the one that `byte_level` with `use_regex` cuts by.
extern const std::string_view gpt2_words;

/// Cuts text into the words that byte-pair merging never crosses, by the steps of a tokenizer.json.
class pre_tokenizer {
public:
  /// What one thread needs; reused from text to text.
  struct workspace {
    pattern::workspace matching;
    std::vector<std::string_view> next;
    std::deque<std::string> prefixed; ///< pieces that got a space in front
  };

  /// @throws input_error naming `origin` for a pattern that does not compile
  pre_tokenizer(const std::vector<pre_tokenizer_step>& steps, const std::string& origin);

  /// Replaces `words` by the words of `text` (valid UTF-8), in order. They point into `text` or `own`.
  ///
  /// @throws input_error if a pattern exceeds its limit of steps
  void cut(std::string_view text, workspace& own, std::vector<std::string_view>& words) const;

private:
  struct cutter {
    pattern separator;
    bool invert = false;
    pre_tokenizer_step::behavior cut = pre_tokenizer_step::behavior::isolated;
    bool splits = true;
    bool add_prefix_space = false;
  };

  static void split(const cutter& by, std::string_view piece, workspace& own);

  std::vector<cutter> cutters_;
};

} // namespace millrace::text
