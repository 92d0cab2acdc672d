#include "runtime/train/shared_groups.hpp"

#include "runtime/train/packed_vectors.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>

namespace millrace::train {
namespace {

using collective::parcel;

/// Whole numbers and numbers, one after another.
class parcel_writer {
public:
  explicit parcel_writer(parcel& out) : out_(out) {}

  template <class T>
  void word(T value) {
    out_.words.push_back(static_cast<std::int64_t>(value));
  }

  template <class List>
  void words(const List& values) {
    word(values.size());
    for (const auto& value : values)
      word(value);
  }

  void numbers(const std::vector<float>& values) {
    word(values.size());
    out_.numbers.insert(out_.numbers.end(), values.begin(), values.end());
  }

private:
  parcel& out_;
};

class parcel_reader {
public:
  explicit parcel_reader(const parcel& in) : in_(in) {}

  template <class T = std::int64_t>
  T word() {
    return static_cast<T>(in_.words.at(next_word_++));
  }

  template <class List>
  List words() {
    List values(word<std::size_t>(), typename List::value_type());
    for (auto& value : values)
      value = word<typename List::value_type>();
    return values;
  }

  std::vector<float> numbers() {
    std::vector<float> values(word<std::size_t>());
    for (auto& value : values)
      value = static_cast<float>(in_.numbers.at(next_number_++));
    return values;
  }

private:
  const parcel& in_;
  std::size_t next_word_ = 0, next_number_ = 0;
};

/// Lengths of runs of equal bits, the first of ones; it may be 0.
std::vector<std::int64_t> runs_of_bits(const std::vector<std::uint8_t>& bits) {
  std::vector<std::int64_t> runs{0};
  bool on = true;
  for (const auto bit : bits) {
    if ((bit != 0) != on) {
      runs.push_back(0);
      on = !on;
    }
    ++runs.back();
  }
  return runs;
}

std::vector<std::uint8_t> bits_of_runs(const std::vector<std::int64_t>& runs) {
  std::vector<std::uint8_t> bits;
  for (std::size_t i = 0; i < runs.size(); ++i)
    bits.insert(bits.end(), static_cast<std::size_t>(runs[i]), i % 2 == 0);
  return bits;
}

void write(parcel_writer& out, const std::vector<version_run>& runs) {
  out.word(runs.size());
  for (const auto& run : runs) {
    out.word(run.version);
    out.word(run.tokens);
    out.word(run.recomputed);
  }
}

std::vector<version_run> read_runs(parcel_reader& in) {
  std::vector<version_run> runs(in.word<std::size_t>());
  for (auto& run : runs) {
    run.version = in.word<std::uint32_t>();
    run.tokens = in.word<std::uint32_t>();
    run.recomputed = in.word() != 0;
  }
  return runs;
}

bool all_finite(const std::vector<std::vector<float>>& column) {
  return std::ranges::all_of(
      column, [](const auto& answer) { return std::ranges::all_of(answer, [](float x) { return std::isfinite(x); }); });
}

void write_outline(parcel_writer& out, const training_group& group) {
  if (!group.segments.empty() || !group.played.empty() || !group.turns.empty() || !group.value.empty())
    throw std::invalid_argument("group " + std::to_string(group.id)
                                + ": an outline of an episode, or of a group with values, want one of answers alone");
  out.word(group.id);
  out.word(group.prompt.size());
  out.word(group.answers.size());
  out.word(!group.mask.empty());
  out.word(!group.ref_logprob.empty());
  out.word(all_finite(group.behaviour_logprob) && all_finite(group.ref_logprob));
  out.word(group.masked_tokens);
  for (std::size_t i = 0; i < group.answers.size(); ++i) {
    write(out, runs_of(group.version[i], {}));
    if (!group.mask.empty())
      out.words(runs_of_bits(group.mask[i]));
  }
  out.word(group.sampled.size());
  for (const auto& runs : group.sampled)
    write(out, runs);
  out.words(group.kept);
  out.words(group.domain);
  out.numbers(group.reward);
  out.word(group.parts.size());
  for (const auto& part : group.parts)
    out.numbers(part);
  out.numbers(group.baseline);
  out.word(group.origins.size());
  for (const auto& [column, origin] : group.origins) {
    out.words(column);
    out.word(origin.version);
    out.word(origin.threads);
  }
  out.word(lineage_of(group).checksum);
}

/// Zeros, an answer's for each of its tokens.
template <class T>
std::vector<std::vector<T>> zeros_like(const std::vector<std::vector<std::uint32_t>>& column) {
  std::vector<std::vector<T>> zeros;
  for (const auto& answer : column)
    zeros.emplace_back(answer.size());
  return zeros;
}

group_outline read_outline(parcel_reader& in) {
  group_outline outline;
  auto& group = outline.group;
  group.elsewhere = true;
  group.id = in.word<std::uint64_t>();
  group.prompt.resize(in.word<std::size_t>());
  const auto answers = in.word<std::size_t>();
  const bool masked = in.word() != 0, with_reference = in.word() != 0, finite = in.word() != 0;
  group.masked_tokens = in.word();
  for (std::size_t i = 0; i < answers; ++i) {
    auto& version = group.version.emplace_back();
    for (const auto& run : read_runs(in))
      version.insert(version.end(), run.tokens, run.version);
    if (masked)
      group.mask.push_back(bits_of_runs(in.words<std::vector<std::int64_t>>()));
  }
  group.answers = zeros_like<std::int32_t>(group.version);
  group.behaviour_logprob = zeros_like<float>(group.version);
  if (with_reference)
    group.ref_logprob = group.behaviour_logprob;
  if (!finite)
    std::ranges::find_if(group.behaviour_logprob, [](const auto& answer) { return !answer.empty(); })->front() =
        std::numeric_limits<float>::quiet_NaN();
  group.sampled.resize(in.word<std::size_t>());
  for (auto& runs : group.sampled)
    runs = read_runs(in);
  group.kept = in.words<std::vector<std::uint32_t>>();
  group.domain = in.words<std::string>();
  group.reward = in.numbers();
  group.parts.resize(in.word<std::size_t>());
  for (auto& part : group.parts)
    part = in.numbers();
  group.baseline = in.numbers();
  for (auto count = in.word(); count > 0; --count) {
    auto& origin = group.origins[in.words<std::string>()];
    origin.version = in.word<std::uint32_t>();
    origin.threads = in.word<std::uint32_t>();
  }
  outline.record = lineage_of(group);
  outline.record.checksum = in.word<std::uint64_t>();
  return outline;
}

template <class Column>
void append(std::vector<typename Column::value_type::value_type>& out, const Column& column) {
  for (const auto& answer : column)
    out.insert(out.end(), answer.begin(), answer.end());
}

template <class T>
std::vector<T> part_of(const std::vector<T>& column, const piece_name& name) {
  if (column.empty())
    return {};
  const auto first = column.begin() + name.first_answer;
  return {first, first + name.answers};
}

training_group piece_of(const training_group& whole, const piece_name& name) {
  if (name.first_answer < 0 || name.answers < 0 || name.first_answer + name.answers > std::ssize(whole.answers))
    throw std::logic_error("a piece of group " + std::to_string(name.group) + " that it does not have");
  training_group piece;
  piece.id = whole.id;
  piece.prompt = whole.prompt;
  piece.answers = part_of(whole.answers, name);
  piece.mask = part_of(whole.mask, name);
  piece.behaviour_logprob = part_of(whole.behaviour_logprob, name);
  piece.version = part_of(whole.version, name);
  piece.ref_logprob = part_of(whole.ref_logprob, name);
  piece.reward = part_of(whole.reward, name);
  return piece;
}

parcel packed_pieces(const std::vector<std::pair<piece_name, training_group>>& pieces) {
  parcel out;
  parcel_writer words(out);
  std::vector<std::int32_t> tokens;
  std::vector<std::uint8_t> mask;
  std::vector<float> logprob, reference;
  std::vector<std::uint32_t> version;
  words.word(pieces.size());
  for (const auto& [name, piece] : pieces) {
    words.word(name.group);
    words.word(name.first_answer);
    words.word(name.answers);
    words.word(piece.prompt.size());
    words.word(!piece.mask.empty());
    words.word(!piece.ref_logprob.empty());
    for (const auto& answer : piece.answers)
      words.word(answer.size());
    words.numbers(piece.reward);
    tokens.insert(tokens.end(), piece.prompt.begin(), piece.prompt.end());
    append(tokens, piece.answers);
    append(mask, piece.mask);
    append(logprob, piece.behaviour_logprob);
    append(version, piece.version);
    append(reference, piece.ref_logprob);
  }
  out.tensors = {as_tensor(tokens, at::kInt), as_tensor(mask, at::kByte), as_tensor(logprob, at::kFloat),
                 as_tensor(version, at::kInt), as_tensor(reference, at::kFloat)};
  return out;
}

std::vector<std::pair<piece_name, training_group>> unpacked_pieces(const parcel& given) {
  parcel_reader words(given);
  front_of<std::int32_t> tokens(given.tensors.at(0));
  front_of<std::uint8_t> mask(given.tensors.at(1));
  front_of<float> logprob(given.tensors.at(2));
  front_of<std::uint32_t> version(given.tensors.at(3));
  front_of<float> reference(given.tensors.at(4));
  std::vector<std::pair<piece_name, training_group>> pieces(words.word<std::size_t>());
  for (auto& [name, piece] : pieces) {
    piece.id = name.group = words.word<std::uint64_t>();
    name.first_answer = words.word();
    name.answers = words.word();
    piece.prompt = tokens.take(words.word());
    const bool masked = words.word() != 0, with_reference = words.word() != 0;
    for (std::int64_t i = 0; i < name.answers; ++i) {
      const auto length = words.word();
      piece.answers.push_back(tokens.take(length));
      if (masked)
        piece.mask.push_back(mask.take(length));
      piece.behaviour_logprob.push_back(logprob.take(length));
      piece.version.push_back(version.take(length));
      if (with_reference)
        piece.ref_logprob.push_back(reference.take(length));
    }
    piece.reward = words.numbers();
  }
  return pieces;
}

} // namespace

parcel packed_outlines(std::span<const std::shared_ptr<const training_group>> groups) {
  parcel out;
  parcel_writer words(out);
  words.word(groups.size());
  for (const auto& group : groups)
    write_outline(words, *group);
  return out;
}

std::vector<group_outline> unpacked_outlines(const parcel& parcel) {
  parcel_reader words(parcel);
  std::vector<group_outline> outlines;
  for (auto count = words.word(); count > 0; --count)
    outlines.push_back(read_outline(words));
  return outlines;
}

parcel packed_beginning(const training_group& group, std::span<const std::size_t> tokens) {
  std::vector<std::int32_t> first;
  std::vector<float> logprob;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const auto count = static_cast<std::ptrdiff_t>(tokens[i]);
    first.insert(first.end(), group.answers[i].begin(), group.answers[i].begin() + count);
    logprob.insert(logprob.end(), group.behaviour_logprob[i].begin(), group.behaviour_logprob[i].begin() + count);
  }
  return {.words = {}, .numbers = {}, .tensors = {as_tensor(first, at::kInt), as_tensor(logprob, at::kFloat)}};
}

void take_beginning(training_group& outline, std::span<const std::size_t> tokens, const parcel& parcel) {
  front_of<std::int32_t> first(parcel.tensors.at(0));
  front_of<float> logprob(parcel.tensors.at(1));
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const auto count = static_cast<std::int64_t>(tokens[i]);
    std::ranges::copy(first.take(count), outline.answers[i].begin());
    std::ranges::copy(logprob.take(count), outline.behaviour_logprob[i].begin());
  }
}

std::vector<int> places_of(std::span<const std::vector<piece_name>> of_tasks,
                           const std::map<std::uint64_t, int>& keepers, int ranks) {
  const auto size = static_cast<std::size_t>(ranks);
  std::vector<int> placed(of_tasks.size(), -1);
  for (std::size_t first = 0; first < of_tasks.size(); first += size) {
    const auto end = std::min(first + size, of_tasks.size());
    std::vector<std::tuple<std::int64_t, std::size_t, int>> wishes; // answers kept, negative; task; rank
    for (std::size_t task = first; task < end; ++task) {
      std::vector<std::int64_t> kept(size);
      for (const auto& piece : of_tasks[task]) {
        const auto keeper = keepers.find(piece.group);
        if (keeper == keepers.end())
          throw std::logic_error("group " + std::to_string(piece.group) + " is kept by no rank");
        kept[static_cast<std::size_t>(keeper->second)] += piece.answers;
      }
      for (int rank = 0; rank < ranks; ++rank)
        wishes.emplace_back(-kept[static_cast<std::size_t>(rank)], task, rank);
    }
    std::ranges::sort(wishes);
    std::vector<bool> taken(size);
    for (const auto& [kept, task, rank] : wishes)
      if (placed[task] < 0 && !taken[static_cast<std::size_t>(rank)]) {
        placed[task] = rank;
        taken[static_cast<std::size_t>(rank)] = true;
      }
  }
  return placed;
}

std::vector<piece_move> moves_to(std::span<const std::vector<piece_name>> of_tasks, std::span<const int> placed,
                                 const std::map<std::uint64_t, int>& keepers) {
  std::set<piece_move> moves;
  for (std::size_t i = 0; i < of_tasks.size(); ++i)
    for (const auto& piece : of_tasks[i])
      if (const int keeper = keepers.at(piece.group); keeper != placed[i])
        moves.insert({piece, keeper, placed[i]});
  return {moves.begin(), moves.end()};
}

std::vector<std::int64_t> words_of(std::span<const piece_move> moves) {
  std::vector<std::int64_t> words;
  for (const auto& [what, from, to] : moves)
    words.insert(words.end(),
                 {static_cast<std::int64_t>(what.group), what.first_answer, what.answers, std::int64_t{from}, to});
  return words;
}

std::vector<piece_move> moves_in(std::span<const std::int64_t> words) {
  std::vector<piece_move> moves;
  for (; words.size() >= 5; words = words.subspan(5))
    moves.push_back({{static_cast<std::uint64_t>(words[0]), words[1], words[2]},
                     static_cast<int>(words[3]),
                     static_cast<int>(words[4])});
  return moves;
}

training_group group_pieces::at(const piece_name& name) const {
  if (const auto found = received_.find(name); found != received_.end())
    return found->second;
  if (const auto whole = kept_(name.group))
    return piece_of(*whole, name);
  throw std::logic_error("group " + std::to_string(name.group) + " is not kept here, and nobody has handed it over");
}

std::vector<parcel> group_pieces::outgoing(std::span<const piece_move> moves, int rank, int ranks) const {
  std::vector<std::vector<std::pair<piece_name, training_group>>> pieces(static_cast<std::size_t>(ranks));
  for (const auto& [what, from, to] : moves)
    if (from == rank)
      pieces.at(static_cast<std::size_t>(to)).emplace_back(what, at(what));
  std::vector<parcel> parcels;
  for (const auto& for_one : pieces)
    parcels.push_back(packed_pieces(for_one));
  return parcels;
}

void group_pieces::take(const std::vector<parcel>& incoming) {
  received_.clear();
  for (const auto& parcel : incoming)
    if (!parcel.words.empty())
      for (auto& [name, piece] : unpacked_pieces(parcel))
        received_.insert_or_assign(name, std::move(piece));
}

} // namespace millrace::train
