#pragma once

#include <string>

namespace millrace::report {

/// The report's CSS, with light and dark colours for every class that the charts use.
std::string style_sheet();

} // namespace millrace::report
