#pragma once

#include "runtime/data/difficulty_source.hpp"
#include "runtime/data/mixture.hpp"
#include "runtime/messages/prompts.hpp"
#include "runtime/pipeline/pipeline.hpp"
#include "runtime/transport/bundle.hpp"

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace millrace::roles {

/// A prompt that was taken.
struct source_prompt {
  prompt_row row;            ///< without its ticket: whoever publishes `columns` fills it in
  transport::bundle columns; ///< as `columns_of(prompt_content)` makes them; none if `row.exhausted`
};

/// What a source knows, without an actor. It is synchronous and has one caller at a time.
///
/// Invariants
/// - SO-1: the prompt of an index is a function of the pipeline, and with `sampler = "difficulty"` of what `measured`
/// was
///   told before the index was first taken. After a resume it is the same.
/// - SO-2: an unusable row takes no index: it is counted and named. A row whose expected answer the rules behind the
///   source cannot read is unusable.
class source_role {
public:
  /// @param from where to go on after a resume; nothing: from the first prompt
  /// @throws input_error if the file cannot be opened, is empty, or is not the one `from` was saved with
  source_role(const pipeline::pipeline& p, const pipeline::role& role, std::optional<source_position> from);

  /// @param index one after the last one taken, or one of the last `kept_rows`; after a resume also one further on:
  ///        those between were trained before the stop
  /// @throws input_error for data that cannot be read any more; std::out_of_range for any other index
  source_prompt take(std::uint64_t index);

  /// The prompt of a recorded run, whose row is known. Only where results decide which rows come.
  /// @throws input_error for data that cannot be read any more; std::out_of_range for a source that is not there
  source_prompt take_drawn(std::uint64_t index, const drawn_row& row);

  /// Takes in how a step's prompts were answered. Nothing, where results decide nothing.
  void measured(const prompts_measured& results);

  /// @throws std::out_of_range for an index that lies further back than `kept_rows`
  source_position position_of(std::uint64_t index) const;

  static constexpr std::size_t kept_rows = 1 << 16; ///< positions remembered; far more than groups can be live

private:
  /// Unusable rows since the last answer.
  struct skipped_rows {
    std::uint64_t count = 0;
    std::string first;
  };

  source_prompt take_in_order(std::uint64_t index);
  source_prompt read_next();
  void go_on_measured(const source_position& from);
  source_prompt take_measured(std::uint64_t index);
  source_position measured_position_of(std::uint64_t index) const;
  source_prompt prompt_of(std::uint64_t index, data::row row, std::size_t part) const;
  std::out_of_range not_there(std::uint64_t index) const;

  std::shared_ptr<skipped_rows> skipped_ = std::make_shared<skipped_rows>();
  bool resumed_;
  std::vector<std::string> names_;                 ///< of several sources; empty: there is one
  std::vector<data::difficulty_source*> measured_; ///< of the sources in `rows_`; empty: results decide nothing
  std::deque<drawn_row> drawn_;                    ///< where results decide: the last ones, up to `next_index_`
  data::mixture rows_;
  std::uint64_t next_index_ = 0;
  std::deque<source_position> positions_; ///< of the rows taken last, and behind them of the next one
  std::optional<std::uint64_t> end_;      ///< how many prompts there are, once known
};

} // namespace millrace::roles
