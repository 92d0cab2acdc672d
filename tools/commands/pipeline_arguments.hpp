#pragma once

#include "tools/command.hpp"

#include <filesystem>
#include <string>
#include <vector>

namespace millrace::tools {

/// Where a command finds its pipeline.
struct pipeline_arguments {
  std::vector<std::filesystem::path> files; ///< each is laid over those before it
  std::vector<std::string> overrides;

  argument file(bool required = true, const char* name = "FILE") {
    return {.name = name,
            .to = &files,
            .help = "The pipeline, TOML; each further file is laid over those before it, key by key",
            .required = required};
  }

  argument set() {
    return {.name = "--set",
            .to = &overrides,
            .help = "Overrides one key: a.b=value (TOML; a bare word is a string)",
            .one_at_a_time = true};
  }
};

} // namespace millrace::tools
