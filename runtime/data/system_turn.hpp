#pragma once

#include "runtime/data/row.hpp"

#include <string>
#include <vector>

namespace millrace::data {

/// Puts the system message before a prompt that has none. An empty `system` changes nothing.
void add_system(std::vector<chat_turn>& prompt, const std::string& system);

} // namespace millrace::data
