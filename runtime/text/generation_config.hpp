#pragma once

#include "runtime/words/input_error.hpp"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace millrace::text {

/// One value that generation_config.json recommends. A file is not refused for a value that nobody asks for.
template <class T>
class recommended {
public:
  recommended() = default;

  recommended(T value) : value_(std::move(value)) {}

  /// A value that cannot be used. @param why the line of who asks for it
  static recommended refused(std::string why) {
    recommended out;
    out.why_ = std::move(why);
    return out;
  }

  /// The value, or what stands for it where the file is silent.
  /// @throws input_error `path: key: found, want` for a value that cannot be used
  T or_else(T silent) const {
    if (!why_.empty())
      throw input_error(why_);
    return value_.value_or(std::move(silent));
  }

  /// What can be used, for the file that is written.
  const std::optional<T>& usable() const { return value_; }

private:
  std::optional<T> value_;
  std::string why_;
};

/// What generation_config.json recommends; a pipeline's own settings go before it. `do_sample: false` is temperature 0.
struct generation_defaults {
  recommended<double> temperature; ///< >= 0
  recommended<double> top_p;       ///< (0, 1]
  recommended<std::int64_t> top_k; ///< >= 0; 0 = off
  std::vector<std::int32_t> eos_ids;
  std::optional<std::int32_t> bos_id;
  std::optional<std::int32_t> pad_id;
};

/// @throws input_error `path: key: found, want` for a file that is no JSON object, or token ids that are none
generation_defaults read_generation_config(const std::filesystem::path& path);

/// @returns the JSON text of a generation_config.json
std::string generation_config_text(const generation_defaults& defaults);

} // namespace millrace::text
