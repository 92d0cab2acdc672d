#pragma once

namespace millrace::rules {

/// The text of `code_driver.py`, which runs a program on tests inside a sandbox: python3 -I -c SCRIPT. The file's own
/// comment describes what it reads and writes.
extern const char* const code_driver_script;

} // namespace millrace::rules
