#pragma once

#include "runtime/columns/column_set.hpp"
#include "runtime/words/chat_turn.hpp"

#include <string>
#include <vector>

namespace millrace::columns {

/// A row of the data, as its columns say it.
struct prompt_content {
  std::vector<chat_turn> prompt; ///< at least one turn
  std::string answer;            ///< the expected one
  std::string ground_truth = {}; ///< it as JSON; "" where it is text
  std::string data_source;
  std::string extra_info;                             ///< JSON; may be empty
  std::vector<std::vector<chat_turn>> demonstrations; ///< as `data::row` has them
  double margin = 0;                                  ///< of a preference; 0: not said

  bool operator==(const prompt_content&) const = default;
};

/// The columns that a source adds. `ground_truth`, `extra_info` and those of demonstrations are only there if the row
/// has some.
transport::bundle columns_of(const prompt_content& row);

/// The conversation: `column::prompt`. @throws std::exception for columns that `columns_of` did not write
std::vector<chat_turn> prompt_in(const column_set& columns);

/// `column::answer`
std::string answer_in(const column_set& columns);

/// `column::ground_truth`; "" where the column is not there.
std::string ground_truth_in(const column_set& columns);

/// `column::data_source`
std::string data_source_in(const column_set& columns);

/// `column::extra_info`; "" where the column is not there.
std::string extra_info_in(const column_set& columns);

/// The demonstrated answers; none where the columns are not there. @throws as `prompt_in`
std::vector<std::vector<chat_turn>> demonstrations_in(const column_set& columns);

/// 0 where the column is not there. @throws as `prompt_in`
double margin_in(const column_set& columns);

/// The whole row. @throws as `prompt_in`
prompt_content content_of(const column_set& columns);

} // namespace millrace::columns
