#pragma once

#include "runtime/schedule/event.hpp"

#include <string>
#include <string_view>

namespace millrace::schedule {

/// An event as one line of words and numbers, without spaces at either end:
///
///     joined <worker> <places> <version or -> <name>       finished <group> <attempt> <tokens> <baseline tokens>
///     <answers> lost <worker>                                        interrupted <group> <attempt> <tokens>
///     acknowledged <worker> <version>                      ready <group> <attempt>
///     trained <step> <part> <tokens> <masked>              failed <group> <attempt> <again or data> <tokens> <why>
///     training_lost <step> <part>                          group_lost <group> <attempt>
///     flat <group> <attempt>
///     prompts <count>          saved <step>                stop
///
/// <tokens> and <answers> are `version:count,version:count` or `-`.
std::string event_text(const event& what);

/// @throws input_error for a line that `event_text` does not write
event read_event(std::string_view line);

} // namespace millrace::schedule
