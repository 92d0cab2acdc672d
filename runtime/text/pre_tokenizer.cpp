#include "runtime/text/pre_tokenizer.hpp"

namespace millrace::text {

using behavior = pre_tokenizer_step::behavior;

// Rust's char::is_numeric, which Digits asks, stands at Unicode 17: two scripts more than \p{N}.
constexpr std::string_view digit = R"([\p{N}\x{11DE0}-\x{11DE9}\x{16FF4}-\x{16FF6}])";

const std::string_view gpt2_words = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

pre_tokenizer::pre_tokenizer(const std::vector<pre_tokenizer_step>& steps, const std::string& origin) {
  for (const pre_tokenizer_step& step : steps) {
    switch (step.what) {
    case pre_tokenizer_step::kind::split:
      cutters_.push_back({.separator = pattern(step.literal ? escaped_pattern(step.pattern) : step.pattern, origin),
                          .invert = step.invert,
                          .cut = step.cut});
      break;
    case pre_tokenizer_step::kind::digits:
      cutters_.push_back({.separator = pattern(std::string(digit) + (step.individual_digits ? "" : "+"), origin)});
      break;
    case pre_tokenizer_step::kind::byte_level:
      if (step.use_regex || step.add_prefix_space)
        cutters_.push_back({.separator = pattern(gpt2_words, origin),
                            .splits = step.use_regex,
                            .add_prefix_space = step.add_prefix_space});
      break;
    }
  }
}

void pre_tokenizer::cut(std::string_view text, workspace& own, std::vector<std::string_view>& words) const {
  own.prefixed.clear();
  words.assign(1, text);
  for (const cutter& by : cutters_) {
    own.next.clear();
    for (std::string_view piece : words) {
      if (by.add_prefix_space && !piece.starts_with(' '))
        piece = own.prefixed.emplace_back(' ' + std::string(piece));
      if (by.splits)
        split(by, piece, own);
      else
        own.next.push_back(piece);
    }
    words.swap(own.next);
  }
}

void pre_tokenizer::split(const cutter& by, std::string_view piece, workspace& own) {
  std::vector<std::string_view>& out = own.next;
  const std::size_t first = out.size();
  bool previous_separates = false;
  const auto extend = [&](std::size_t end) {
    out.back() = std::string_view(out.back().data(), static_cast<std::size_t>(piece.data() + end - out.back().data()));
  };
  const auto emit = [&](std::size_t begin, std::size_t end, bool separates) {
    if (begin == end)
      return;
    const bool has_previous = out.size() > first;
    switch (by.cut) {
    case behavior::isolated:
      out.push_back(piece.substr(begin, end - begin));
      break;
    case behavior::removed:
      if (!separates)
        out.push_back(piece.substr(begin, end - begin));
      break;
    case behavior::merged_with_previous:
      if (separates && !previous_separates && has_previous)
        extend(end);
      else
        out.push_back(piece.substr(begin, end - begin));
      break;
    case behavior::merged_with_next:
      if (!separates && previous_separates && has_previous)
        extend(end);
      else
        out.push_back(piece.substr(begin, end - begin));
      break;
    case behavior::contiguous:
      if (has_previous && separates == previous_separates)
        extend(end);
      else
        out.push_back(piece.substr(begin, end - begin));
      break;
    }
    previous_separates = separates;
  };

  std::size_t done = 0;
  std::size_t search = 0;
  while (search <= piece.size()) {
    const auto match = by.separator.find(piece, search, own.matching);
    if (!match)
      break;
    const auto [begin, end] = *match;
    emit(done, begin, by.invert);
    emit(begin, end, !by.invert);
    done = end;
    search = end;
    if (begin == end) {
      ++search;
      while (search < piece.size() && (static_cast<unsigned char>(piece[search]) & 0xC0) == 0x80)
        ++search;
    }
  }
  emit(done, piece.size(), by.invert);
}

} // namespace millrace::text
