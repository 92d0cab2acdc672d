#pragma once

#include "runtime/data/source.hpp"
#include "runtime/pipeline/pipeline.hpp"

#include <caf/meta/type_name.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace millrace::actors {

// -- messages -----------------------------------------------------------------

/// One turn of a conversation.
struct chat_turn {
  std::string role; ///< "system", "user", "assistant"
  std::string content;

  bool operator==(const chat_turn&) const = default;
};

template <class Inspector>
auto inspect(Inspector& f, chat_turn& x) {
  return f(caf::meta::type_name("chat_turn"), x.role, x.content);
}

/// Asks for the prompt at a place in the run's order. coordinator -> source.
struct take_prompt {
  std::uint64_t index = 0; ///< 0, 1, 2, ...; asked for in this order, but for the first after a resume
};

template <class Inspector>
auto inspect(Inspector& f, take_prompt& x) {
  return f(caf::meta::type_name("take_prompt"), x.index);
}

/// The columns a source adds: `prompt`, `answer`. Answers `take_prompt`.
struct prompt_row {
  std::uint64_t index = 0;
  bool exhausted = false;          ///< there is no such prompt: the data ended
  std::vector<chat_turn> prompt;
  std::string answer;
  std::string data_source;
  std::vector<std::vector<chat_turn>> demonstrations; ///< as `data::row` has them
  double margin = 0;
  std::uint64_t skipped_rows = 0;  ///< unusable rows met since the last answer
  std::string skipped_first;       ///< the first of them, "file:line: why"
  std::string where;               ///< "file:line" of the row
};

template <class Inspector>
auto inspect(Inspector& f, prompt_row& x) {
  return f(caf::meta::type_name("prompt_row"), x.index, x.exhausted, x.prompt, x.answer, x.data_source, x.demonstrations,
           x.margin, x.skipped_rows, x.skipped_first, x.where);
}

/// Where the data stood just before a prompt was read: what a checkpoint keeps. Asked for by the coordinator.
struct find_position {
  std::uint64_t index = 0; ///< of a prompt that was taken, or the next one
};

template <class Inspector>
auto inspect(Inspector& f, find_position& x) {
  return f(caf::meta::type_name("find_position"), x.index);
}

/// Answers `find_position`; `data::position` with the index that is read next from there.
struct source_position {
  std::uint64_t index = 0;
  std::uint64_t epoch = 0;
  std::uint64_t next = 0;
  std::uint64_t rows = 0;
};

template <class Inspector>
auto inspect(Inspector& f, source_position& x) {
  return f(caf::meta::type_name("source_position"), x.index, x.epoch, x.next, x.rows);
}

// -- protocol -----------------------------------------------------------------

using source_actor = caf::typed_actor<caf::replies_to<take_prompt>::with<prompt_row>,
                                      caf::replies_to<find_position>::with<source_position>>;

// -- behaviour ----------------------------------------------------------------

/// Everything the source knows, with no actor in sight.
class source_state {
public:
  static constexpr const char* name = "source";

  source_state() = default;

  /// @param from where to go on after a resume; nothing: from the first prompt
  /// @throws input_error if the file cannot be opened, is empty, or is not the one `from` was saved with
  source_state(const pipeline::pipeline& p, const pipeline::role& role, std::optional<source_position> from);

  /// @param index one after the last one taken, or one of the last `kept_rows`
  /// @throws input_error for data that cannot be read any more; std::out_of_range for any other index
  prompt_row take(std::uint64_t index);

  /// @throws std::out_of_range for an index that lies further back than `kept_rows`
  source_position position_of(std::uint64_t index) const;

  static constexpr std::size_t kept_rows = 1 << 16; ///< positions remembered; far more than groups can be live

private:
  std::shared_ptr<data::source> source_;
  std::uint64_t next_index_ = 0;
  std::deque<source_position> positions_; ///< of the rows taken last, and behind them of the next one
  std::optional<std::uint64_t> end_;      ///< how many prompts there are, once known
  std::shared_ptr<std::pair<std::uint64_t, std::string>> skipped_; ///< since the last answer: how many, the first
};

/// Invariants
/// - SO-1: the prompt of an index is a function of the pipeline alone: after a resume it is the same.
/// - SO-2: an unusable row takes no index: it is counted and named.
/// - SO-3: when this actor dies, so does the run's process: it holds nothing that a checkpoint does not.
source_actor::behavior_type make_source(source_actor::stateful_pointer<source_state> self, source_state state);

} // namespace millrace::actors
