#pragma once

#include "runtime/words/ticket.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace millrace {

/// Asks for the prompt at a place in the run's order. coordinator -> source.
struct take_prompt {
  std::uint64_t index = 0; ///< 0, 1, 2, ...; asked for in this order, but for the first after a resume
};

/// A row of one of the sources, by numbers.
struct drawn_row {
  std::uint32_t source = 0; ///< in the pipeline's order
  std::uint64_t row = 0;    ///< of its file, from 0

  bool operator==(const drawn_row&) const = default;
};

/// A row of the data. Answers `take_prompt`. What it says travels as columns (`runtime/words/columns.hpp`).
struct prompt_row {
  std::uint64_t index = 0;
  bool exhausted = false; ///< there is no such prompt: the data ended
  ticket columns = {};    ///< of the row, published by the source; id 0 if exhausted
  std::string data_source;
  std::uint64_t skipped_rows = 0; ///< unusable rows met since the last answer
  std::string skipped_first;      ///< the first of them, "file:line: why"
  std::string where;              ///< "file:line" of the row
  std::string source;             ///< name of the one that it is of, where the pipeline has several; else ""
  bool measured = false;          ///< results decide which rows come: `prompts_measured` is wanted
  drawn_row drawn;                ///< the row, if `measured`
};

/// Where the data stood just before a prompt was read: what a checkpoint keeps. Asked for by the coordinator.
struct find_position {
  std::uint64_t index = 0; ///< of a prompt that was taken, or the next one
};

/// What answers to a prompt came to.
struct measured_prompt {
  std::uint64_t index = 0;
  double share = 0; ///< of its answers that were right: the mean score of the first rule
};

/// The results of a step. coordinator -> a source whose rows are `measured`.
struct prompts_measured {
  std::vector<measured_prompt> prompts; ///< by index
};

/// `data::measured_row`.
struct row_rate {
  std::uint64_t row = 0;
  std::uint32_t rate = 0;

  bool operator==(const row_rate&) const = default;
};

/// Where one source of rows stands: `data::mixture_place`, and where results decide `data::difficulty_state`.
struct source_place {
  std::uint64_t epoch = 0;
  std::uint64_t next = 0;
  std::uint64_t rows = 0;
  std::uint64_t given = 0;
  bool ended = false;
  std::uint64_t draws = 0;
  std::vector<row_rate> rates = {};
  std::vector<std::uint64_t> resting = {};

  bool operator==(const source_place&) const = default;
};

/// Answers `find_position`: the index that is read next from there, and where each source of rows stands then. Where
/// results decide, rows that were drawn stay drawn: the sources stand behind the last of `drawn`.
struct source_position {
  std::uint64_t index = 0;
  std::vector<source_place> sources; ///< in the pipeline's order
  std::vector<drawn_row> drawn = {}; ///< for `index` and those after it

  bool operator==(const source_position&) const = default;
};

} // namespace millrace
