#pragma once

#include "runtime/data/source.hpp"
#include "runtime/pipeline/source_table.hpp"

namespace millrace::roles {

/// How the file of a source or an evaluation is read, as far as their tables say it alike: not its epochs, not its
/// seed.
template <class Table>
data::file_options row_options(const Table& table) {
  data::file_options options{.shuffle = table.shuffle, .system = table.system};
  if (table.columns)
    options.columns = data::column_names{{"prompt", table.columns->prompt},
                                         {"answer", table.columns->answer},
                                         {"data_source", table.columns->data_source},
                                         {"extra_info", table.columns->extra_info},
                                         {"messages", table.columns->messages},
                                         {"completion", table.columns->completion},
                                         {"chosen", table.columns->chosen},
                                         {"rejected", table.columns->rejected},
                                         {"margin", table.columns->margin}};
  std::erase_if(options.columns, [](const auto& name) { return name.second.empty(); });
  if (!table.python.empty())
    options.python.program = table.python.string();
  return options;
}

} // namespace millrace::roles
