#pragma once

#include "runtime/collective/parcel.hpp"
#include "runtime/train/step_record.hpp"
#include "runtime/train/training_group.hpp"

#include <compare>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <vector>

namespace millrace::train {

/// What a step needs of a group that another rank keeps, beside the pieces that the step's micro-batches are made of:
/// a few numbers an answer.
struct group_outline {
  /// As long as the group in every column, with its versions and masks. Tokens and the numbers that roles said of them
  /// are 0; one is NaN where the group has one that is not finite.
  training_group group;
  lineage record; ///< of the whole group
};

/// @param groups kept by this rank @throws std::invalid_argument for an episode, which has no outline
collective::parcel packed_outlines(std::span<const std::shared_ptr<const training_group>> groups);
std::vector<group_outline> unpacked_outlines(const collective::parcel& parcel);

/// The first tokens of a group's answers, and the log-probabilities that were stamped on them.
/// @param tokens of each answer
collective::parcel packed_beginning(const training_group& group, std::span<const std::size_t> tokens);

/// Puts them into the outline of that group.
void take_beginning(training_group& outline, std::span<const std::size_t> tokens, const collective::parcel& parcel);

/// Neighbouring answers of a group.
struct piece_name {
  std::uint64_t group = 0;
  std::int64_t first_answer = 0, answers = 0;

  auto operator<=>(const piece_name&) const = default;
};

/// A piece on its way from the rank that keeps its group to one that computes with it.
struct piece_move {
  piece_name what;
  int from = 0, to = 0;

  auto operator<=>(const piece_move&) const = default;
};

/// The rank of each task: in every round of `ranks` tasks each rank has one, if possible one of whose answers it keeps
/// many. Of as many answers the earlier task counts, and then the earlier rank.
/// @param keepers the rank that keeps a group @throws std::logic_error naming a group that no rank keeps
std::vector<int> places_of(std::span<const std::vector<piece_name>> of_tasks,
                           const std::map<std::uint64_t, int>& keepers, int ranks);

/// What has to go where, sorted. @param placed the rank of each task
std::vector<piece_move> moves_to(std::span<const std::vector<piece_name>> of_tasks, std::span<const int> placed,
                                 const std::map<std::uint64_t, int>& keepers);

std::vector<std::int64_t> words_of(std::span<const piece_move> moves);
std::vector<piece_move> moves_in(std::span<const std::int64_t> words);

/// The pieces that a rank computes with: of groups that it keeps itself, and those that other ranks have handed it.
class group_pieces {
public:
  /// A group that this rank keeps, or nullptr.
  using find = std::function<std::shared_ptr<const training_group>(std::uint64_t group)>;

  explicit group_pieces(find kept) : kept_(std::move(kept)) {}

  bool keeps(std::uint64_t group) const { return kept_(group) != nullptr; }

  /// Id, prompt, answers with their masks, versions, log-probabilities and rewards.
  /// @throws std::logic_error this rank has no such piece
  training_group at(const piece_name& name) const;

  /// What a rank hands to each of `ranks`, itself excepted.
  std::vector<collective::parcel> outgoing(std::span<const piece_move> moves, int rank, int ranks) const;

  /// What each rank has handed to this one, in place of what they handed to it before.
  void take(const std::vector<collective::parcel>& incoming);

private:
  find kept_;
  std::map<piece_name, training_group> received_;
};

} // namespace millrace::train
