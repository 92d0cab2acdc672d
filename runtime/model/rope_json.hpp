#pragma once

#include "runtime/formats/json_fields.hpp"
#include "runtime/model/model_config.hpp"

#include <nlohmann/json_fwd.hpp>

namespace millrace::model {

/// The rotary settings of one config.json.
struct rope_settings {
  double theta = 10000;
  rope_scaling scaling;

  bool operator==(const rope_settings&) const = default;
};

/// Reads them in either spelling: `rope_theta` and `rope_scaling`, or `rope_parameters`. Where both tables, or both
/// places of `rope_theta`, stand in the file, they must say the same.
/// @param in config.json's fields
/// @throws input_error `source: key: found, want`; a kind that the decoder does not compute is refused by name
rope_settings read_rope_settings(const formats::json_fields& in, std::int64_t max_positions);

/// config.json's `rope_scaling` that is read back as `scaling`; null where nothing is scaled.
nlohmann::json rope_scaling_json(const rope_scaling& scaling);

} // namespace millrace::model
