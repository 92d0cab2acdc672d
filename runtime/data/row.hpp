#pragma once

#include "runtime/words/chat_turn.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace millrace::data {

/// One prompt and what is known about its answer. All text is UTF-8.
struct row {
  std::vector<chat_turn> prompt; ///< at least one
  std::string answer;            ///< the ground truth; empty only where there are demonstrations
  std::string ground_truth;      ///< `answer` as JSON where the file has a number, an object, ...; "" where it has text
  /// How the conversation goes on, as somebody wrote it: turns that begin and end with the assistant's. None for a
  /// plain prompt, one for a completion, two for a preference: the better, the worse.
  std::vector<std::vector<chat_turn>> demonstrations;
  double margin = 0;        ///< of a preference: how much better, finite, >= 0; 0 = not said
  std::string data_source;  ///< verl's `data_source`; may be empty
  std::string extra;        ///< verl's `extra_info` as JSON text; may be empty
  std::uint64_t index = 0;  ///< its place in the order of the run, counted over epochs: no two rows of a run share it
  std::uint64_t number = 0; ///< of a file: its place in it, from 0
  std::string where;        ///< `file:line`, or `arithmetic:index`

  bool operator==(const row&) const = default;
};

} // namespace millrace::data
