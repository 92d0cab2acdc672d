#pragma once

#include "runtime/messages/prompts.hpp"

#include <string>

namespace millrace::supervision {

/// What a checkpoint keeps of where the data stood, as text: a line with the index, then epoch, next and rows of each
/// source, and where there are several also given and ended of each. Where results decide which rows come, a line
/// `drawn` follows with source and row of each, and for each source `draws`, `rates` with row and rate, and `resting`.
std::string saved_text(const source_position& position);

/// @throws input_error for text that `saved_text` did not write
source_position position_from(const std::string& text);

} // namespace millrace::supervision
