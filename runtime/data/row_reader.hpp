#pragma once

namespace millrace::data {

/// The text of row_reader.py, which the build puts into the program.
extern const char* const row_reader_script;

} // namespace millrace::data
