#pragma once

#include "runtime/messages/prompts.hpp"

#include <string>

namespace millrace::supervision {

/// What a checkpoint keeps of where the data stood, as text: the index, then epoch, next and rows of each source, and
/// where there are several also given and ended of each.
std::string saved_text(const source_position& position);

/// @throws input_error for text that `saved_text` did not write
source_position position_from(const std::string& text);

} // namespace millrace::supervision
