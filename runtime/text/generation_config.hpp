#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace millrace::text {

/// What generation_config.json recommends; a pipeline's own settings go before it.
struct generation_defaults {
  std::optional<double> temperature; ///< >= 0
  std::optional<double> top_p;       ///< (0, 1]
  std::optional<std::int64_t> top_k; ///< >= 0; 0 = off
  std::vector<std::int32_t> eos_ids;
  std::optional<std::int32_t> bos_id;
  std::optional<std::int32_t> pad_id;
};

/// @throws input_error `path: key: found, want`
generation_defaults read_generation_config(const std::filesystem::path& path);

/// @returns the JSON text of a generation_config.json
std::string generation_config_text(const generation_defaults& defaults);

} // namespace millrace::text
