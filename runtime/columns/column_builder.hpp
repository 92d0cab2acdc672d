#pragma once

#include "runtime/transport/bundle.hpp"
#include "runtime/words/columns.hpp"

#include <span>
#include <string>
#include <type_traits>
#include <utility>

namespace millrace::columns {

/// Collects columns of the table (`runtime/words/columns.hpp`) by copy into one bundle. A type that is not the column's
/// does not compile.
///
///     auto added = column_builder().add(column::reward, rewards).finish();
class column_builder {
public:
  /// The values must live until `finish`.
  template <column_key Column>
  column_builder& add(const Column& column, std::span<const typename Column::element> values) {
    columns_.add(std::string(column.name), values);
    return *this;
  }

  /// The columns of another bundle, in order.
  column_builder& add_all(const transport::bundle& other) {
    columns_.add_all(other);
    return *this;
  }

  /// @throws std::invalid_argument for two columns of one name
  transport::bundle finish() const { return columns_.finish(); }

private:
  transport::bundle_builder columns_;
};

} // namespace millrace::columns
