#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace millrace::model {

/// Where the answers of a group begin again. Of each answer the first tokens of its segments, ascending, without the
/// first segment, which goes on behind the prompt. A segment is a sequence of its own: its positions begin at 0, and
/// its tokens see each other alone. Empty: every answer is one segment.
using segment_begins = std::vector<std::vector<std::int32_t>>;

/// The begins of one answer; none where `all` is empty.
std::span<const std::int32_t> begins_of(const segment_begins& all, std::size_t answer);

/// An answer's tokens up to its second segment.
std::span<const std::int32_t> first_segment(std::span<const std::int32_t> answer, std::span<const std::int32_t> begins);

/// An answer's segments but the first one, each at least one token.
/// @throws std::invalid_argument for begins that do not ascend within (0, tokens)
std::vector<std::span<const std::int32_t>> further_segments(std::span<const std::int32_t> answer,
                                                            std::span<const std::int32_t> begins);

/// The sequence that an answer ends with.
struct ending {
  std::span<const std::int32_t> prompt; ///< the group's, or the first token of the last segment
  std::span<const std::int32_t> answer; ///< what follows it
};

ending ending_of(std::span<const std::int32_t> prompt, std::span<const std::int32_t> answer,
                 std::span<const std::int32_t> begins);

/// Says one number about each token of answers to a prompt.
using token_scorer = std::function<std::vector<float>(std::span<const std::int32_t> prompt,
                                                      std::span<const std::vector<std::int32_t>> answers)>;

/// What `score` says, each segment on its own. Nothing predicts the first token of a further segment: it gets 0.
/// @returns [sum of the answers' lengths], one answer after another
/// @throws std::invalid_argument as `further_segments`
std::vector<float> by_segment(const token_scorer& score, std::span<const std::int32_t> prompt,
                              std::span<const std::vector<std::int32_t>> answers, const segment_begins& begins);

} // namespace millrace::model
