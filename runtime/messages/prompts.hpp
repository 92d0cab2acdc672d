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
};

/// Where the data stood just before a prompt was read: what a checkpoint keeps. Asked for by the coordinator.
struct find_position {
  std::uint64_t index = 0; ///< of a prompt that was taken, or the next one
};

/// Where one source of rows stands: `data::mixture_place`.
struct source_place {
  std::uint64_t epoch = 0;
  std::uint64_t next = 0;
  std::uint64_t rows = 0;
  std::uint64_t given = 0;
  bool ended = false;

  bool operator==(const source_place&) const = default;
};

/// Answers `find_position`: the index that is read next from there, and where each source of rows stands then.
struct source_position {
  std::uint64_t index = 0;
  std::vector<source_place> sources; ///< in the pipeline's order

  bool operator==(const source_position&) const = default;
};

} // namespace millrace
