#pragma once

#include "runtime/watch/run_reader.hpp"

#include <string>

namespace millrace::watch {

/// A group: prompt, answers side by side, reward by rule. Tokens that are shown have classes for each of
/// `token_chooser`'s choices. @param row one line of the trajectories, or of the newest groups, JSON
std::string group_in_html(const std::string& row);

/// The newest groups, those with tokens first. Every text in them is escaped.
std::string groups_in_html(const run_view& run);

/// Radio buttons and a legend for each: by which number tokens are coloured. The style of `token_style` does it,
/// without a script. They stand before the element whose id is "groups".
std::string token_chooser();
std::string token_style();

} // namespace millrace::watch
