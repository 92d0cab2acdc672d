#pragma once

#include "runtime/text/tokenizer_data.hpp"

#include <filesystem>
#include <string>
#include <string_view>

namespace millrace::text {

/// Reads a Hugging Face `tokenizer.json` that holds a byte-level BPE. The file is treated as hostile.
///
/// `bos`, `eos` and `pad` are not in this file: they come from tokenizer_config.json or config.json.
///
/// @throws input_error naming the part that is not supported (Unigram, WordPiece, byte_fallback, an unknown
///         normalizer or pre-tokenizer ...) or wrong (too large, a duplicate or negative id, a merge that names no
///         token, text that is not UTF-8)
tokenizer_data read_tokenizer_json(const std::filesystem::path& file);

/// The same from text; `origin` is what error lines call it.
tokenizer_data parse_tokenizer_json(std::string_view text, std::string origin);

/// The `tokenizer.json` that describes `data`: `source_json` where there is one, else written from the parts.
std::string write_tokenizer_json(const tokenizer_data& data);

} // namespace millrace::text
