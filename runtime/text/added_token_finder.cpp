#include "runtime/text/added_token_finder.hpp"

#include "runtime/text/utf8.hpp"

#include <algorithm>

namespace millrace::text {
namespace {

// Rust's \w, which is what `tokenizers` asks: Unicode TS 18, annex C.
constexpr std::string_view word_character = R"([\p{Alphabetic}\p{L}\p{M}\p{Nd}\p{Pc}\p{Join_Control}])";

std::size_t character_start(std::string_view text, std::size_t end) {
  std::size_t at = end - 1;
  while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80)
    --at;
  return at;
}

} // namespace

added_token_finder::added_token_finder(const std::vector<added_token>& tokens)
    : nodes_(1), word_before_(std::string(word_character) + "\\z", "added tokens"),
      word_after_("\\A" + std::string(word_character), "added tokens"), space_after_("\\A\\s+", "added tokens") {
  for (const added_token& token : tokens) {
    if (token.content.empty())
      continue;
    std::uint32_t at = 0;
    for (const char c : token.content) {
      const auto [edge, is_new] = nodes_[at].next.try_emplace(static_cast<unsigned char>(c), nodes_.size());
      at = edge->second;
      if (is_new)
        nodes_.emplace_back();
    }
    nodes_[at].token = static_cast<std::int32_t>(tokens_.size());
    tokens_.push_back({token.id, token.single_word, token.lstrip, token.rstrip});
    begins_token_[static_cast<unsigned char>(token.content[0])] = true;
  }
}

bool added_token_finder::touches_a_word(std::string_view text, std::size_t begin, std::size_t end,
                                        pattern::workspace& own) const {
  if (begin > 0) {
    const std::size_t before = character_start(text, begin);
    if (word_before_.find(text.substr(before, begin - before), 0, own))
      return true;
  }
  return end < text.size() && word_after_.find(text.substr(end), 0, own).has_value();
}

void added_token_finder::cut(std::string_view text, pattern::workspace& own, std::vector<piece>& pieces) const {
  std::size_t done = 0;
  std::size_t at = 0;
  while (at < text.size()) {
    if (!begins_token_[static_cast<unsigned char>(text[at])]) {
      ++at;
      continue;
    }
    std::int32_t found = -1;
    std::size_t end = at;
    std::uint32_t at_node = 0;
    for (std::size_t i = at; i < text.size(); ++i) {
      const auto edge = nodes_[at_node].next.find(static_cast<unsigned char>(text[i]));
      if (edge == nodes_[at_node].next.end())
        break;
      at_node = edge->second;
      if (nodes_[at_node].token >= 0) {
        found = nodes_[at_node].token;
        end = i + 1;
      }
    }
    if (found < 0) {
      ++at;
      continue;
    }
    std::size_t begin = at;
    at = end;
    const entry& token = tokens_[static_cast<std::size_t>(found)];
    if (token.single_word && touches_a_word(text, begin, end, own))
      continue;
    if (token.lstrip)
      while (begin > done) {
        const std::size_t before = character_start(text, begin);
        if (!space_after_.find(text.substr(before, begin - before), 0, own))
          break;
        begin = before;
      }
    if (token.rstrip)
      if (const auto space = space_after_.find(text.substr(end), 0, own))
        end += space->second;
    if (done < begin)
      pieces.push_back({text.substr(done, begin - done), -1});
    pieces.push_back({text.substr(begin, end - begin), token.id});
    done = std::max(done, end);
  }
  if (done < text.size())
    pieces.push_back({text.substr(done), -1});
}

} // namespace millrace::text
