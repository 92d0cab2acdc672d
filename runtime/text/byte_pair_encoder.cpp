#include "runtime/text/byte_pair_encoder.hpp"

#include "runtime/text/byte_alphabet.hpp"
#include "runtime/words/input_error.hpp"

#include <bit>
#include <limits>
#include <queue>

namespace millrace::text {
namespace {

constexpr std::size_t longest_short_word = 48; // bytes: up to here a scan for the best pair beats a queue

std::uint64_t pair_of(std::int32_t left, std::int32_t right) {
  return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 | static_cast<std::uint32_t>(right);
}

std::size_t slot_of(std::uint64_t pair, std::size_t slots) {
  pair ^= pair >> 29;
  pair *= 0x9E3779B97F4A7C15u;
  return static_cast<std::size_t>(pair >> 20) & (slots - 1);
}

} // namespace

byte_pair_encoder::byte_pair_encoder(const tokenizer_data& data) {
  std::unordered_map<std::string_view, std::int32_t> ids;
  ids.reserve(data.vocabulary.size());
  for (std::size_t id = 0; id < data.vocabulary.size(); ++id)
    if (!data.vocabulary[id].empty())
      ids.emplace(data.vocabulary[id], static_cast<std::int32_t>(id));

  const std::int32_t missing = data.unknown.value_or(-1);
  for (int b = 0; b < 256; ++b) {
    const char byte = static_cast<char>(b);
    const auto found = ids.find(to_byte_alphabet(std::string_view(&byte, 1)));
    byte_ids_[static_cast<std::size_t>(b)] = found == ids.end() ? missing : found->second;
  }

  table_.assign(std::bit_ceil(2 * data.merges.size() + 2), merge{no_pair, 0, 0});
  for (std::size_t rank = 0; rank < data.merges.size(); ++rank) {
    const auto& [left, right] = data.merges[rank];
    const auto l = ids.find(left);
    const auto r = ids.find(right);
    const auto both = ids.find(left + right);
    for (const auto& [found, text] : {std::pair{l, left}, std::pair{r, right}, std::pair{both, left + right}})
      if (found == ids.end())
        throw input_error(data.origin + ": merge " + std::to_string(rank) + ": \"" + left + "\" + \"" + right
                          + "\": found no token \"" + text + "\", want one in the vocabulary");
    add(l->second, r->second, static_cast<std::int32_t>(rank), both->second);
  }

  if (data.ignore_merges)
    for (const auto& [token, id] : ids)
      if (auto bytes = from_byte_alphabet(token))
        whole_words_.emplace(std::move(*bytes), id);
}

void byte_pair_encoder::add(std::int32_t left, std::int32_t right, std::int32_t rank, std::int32_t id) {
  const std::uint64_t pair = pair_of(left, right);
  std::size_t slot = slot_of(pair, table_.size());
  while (table_[slot].pair != no_pair && table_[slot].pair != pair)
    slot = (slot + 1) & (table_.size() - 1);
  table_[slot] = {pair, rank, id};
}

const byte_pair_encoder::merge* byte_pair_encoder::find(std::int32_t left, std::int32_t right) const {
  const std::uint64_t pair = pair_of(left, right);
  std::size_t slot = slot_of(pair, table_.size());
  while (table_[slot].pair != pair) {
    if (table_[slot].pair == no_pair)
      return nullptr;
    slot = (slot + 1) & (table_.size() - 1);
  }
  return &table_[slot];
}

void byte_pair_encoder::encode(std::string_view word, std::vector<std::int32_t>& ids) const {
  if (!whole_words_.empty())
    if (const auto whole = whole_words_.find(std::string(word)); whole != whole_words_.end()) {
      ids.push_back(whole->second);
      return;
    }
  const std::size_t from = ids.size();
  for (const char b : word)
    if (const std::int32_t id = byte_ids_[static_cast<unsigned char>(b)]; id >= 0)
      ids.push_back(id);
  if (ids.size() - from <= longest_short_word)
    encode_short(ids, from);
  else
    encode_long(ids, from);
}

void byte_pair_encoder::encode_short(std::vector<std::int32_t>& ids, std::size_t from) const {
  constexpr std::int32_t never = std::numeric_limits<std::int32_t>::max();
  std::array<std::int32_t, longest_short_word> rank;   // of the pair that begins here
  std::array<std::int32_t, longest_short_word> merged; // what that pair becomes
  std::int32_t* const word = ids.data() + from;
  std::size_t length = ids.size() - from;
  const auto look_up = [&](std::size_t i) {
    const merge* const m = i + 1 < length ? find(word[i], word[i + 1]) : nullptr;
    rank[i] = m ? m->rank : never;
    merged[i] = m ? m->id : 0;
  };
  for (std::size_t i = 0; i < length; ++i)
    look_up(i);
  while (length > 1) {
    std::size_t best = 0;
    for (std::size_t i = 1; i + 1 < length; ++i)
      if (rank[i] < rank[best])
        best = i;
    if (rank[best] == never)
      break;
    word[best] = merged[best];
    --length;
    for (std::size_t i = best + 1; i < length; ++i) {
      word[i] = word[i + 1];
      rank[i] = rank[i + 1];
      merged[i] = merged[i + 1];
    }
    look_up(best);
    if (best > 0)
      look_up(best - 1);
  }
  ids.resize(from + length);
}

void byte_pair_encoder::encode_long(std::vector<std::int32_t>& ids, std::size_t from) const {
  struct candidate {
    std::int32_t rank;
    std::size_t at;
    std::uint64_t pair; ///< what stood there: a candidate whose pair is gone is dropped
    std::int32_t id;

    bool operator>(const candidate& other) const { return rank != other.rank ? rank > other.rank : at > other.at; }
  };

  constexpr std::size_t none = static_cast<std::size_t>(-1);
  const std::size_t length = ids.size() - from;
  std::int32_t* const word = ids.data() + from;
  std::vector<std::size_t> next(length);
  std::vector<std::size_t> previous(length);
  std::priority_queue<candidate, std::vector<candidate>, std::greater<>> queue;
  const auto offer = [&](std::size_t at) {
    if (at == none || next[at] == none)
      return;
    if (const merge* const m = find(word[at], word[next[at]]))
      queue.push({m->rank, at, m->pair, m->id});
  };
  for (std::size_t i = 0; i < length; ++i) {
    next[i] = i + 1 < length ? i + 1 : none;
    previous[i] = i > 0 ? i - 1 : none;
  }
  for (std::size_t i = 0; i < length; ++i)
    offer(i);
  while (!queue.empty()) {
    const candidate best = queue.top();
    queue.pop();
    if (word[best.at] < 0 || next[best.at] == none || pair_of(word[best.at], word[next[best.at]]) != best.pair)
      continue;
    const std::size_t gone = next[best.at];
    word[best.at] = best.id;
    word[gone] = -1;
    next[best.at] = next[gone];
    if (next[gone] != none)
      previous[next[gone]] = best.at;
    offer(best.at);
    offer(previous[best.at]);
  }
  std::size_t kept = 0;
  for (std::size_t i = 0; i < length; ++i)
    if (word[i] >= 0)
      word[kept++] = word[i];
  ids.resize(from + kept);
}

} // namespace millrace::text
