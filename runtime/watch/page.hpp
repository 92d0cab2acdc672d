#pragma once

#include "runtime/watch/sections.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace millrace::watch {

/// The whole page: its parts as they are now, and a script that puts newer ones in their places as /events tells them.
/// It fetches nothing from anywhere else.
/// @param nonce by which the browser knows the page's own script: a script in a model's answer has none
std::string page(const std::vector<section>& parts, std::string_view nonce);

/// A server-sent event that brings a part (https://html.spec.whatwg.org/multipage/server-sent-events.html).
std::string event_of(const section& part);

} // namespace millrace::watch
