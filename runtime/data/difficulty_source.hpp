#pragma once

#include "runtime/data/difficulty.hpp"
#include "runtime/data/usable_rows.hpp"

namespace millrace::data {

/// Rows of a file in the order of a `difficulty`, without end. `save` and `restore` say of which file they are; where
/// it stands is `state`.
class difficulty_source final : public source {
public:
  /// Draws by `rows.options().seed`.
  explicit difficulty_source(usable_rows rows) : rows_(std::move(rows)), order_(rows_.count(), rows_.options().seed) {}

  std::optional<row> next() override;

  position save() const override { return {0, 0, rows_.count()}; }

  void restore(const position& at) override;

  std::uint64_t skipped() const override { return rows_.skipped(); }

  /// A row that `next` gave. @throws input_error if it cannot be read any more
  row at(std::uint64_t number);

  void measured(std::uint64_t number, double share) { order_.measured(number, share); }

  difficulty_state state() const { return order_.save(); }

  /// @throws std::out_of_range for rows that the file has not
  void restore_state(const difficulty_state& state) { order_.restore(state); }

private:
  usable_rows rows_;
  difficulty order_;
};

} // namespace millrace::data
