#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace millrace::watch {

/// Bytes of a process of this host that lie in memory; nothing if there is no such process.
std::optional<std::int64_t> resident_bytes(std::int64_t pid);

struct gpu_use {
  int index = 0;
  std::int64_t memory_used = 0, memory_total = 0; ///< bytes
  double utilisation = 0;                         ///< 0 to 1: share of the last moments in which a kernel ran
};

/// The GPUs that NVIDIA's driver tells of; none where there is no driver.
std::vector<gpu_use> gpus_in_use();

} // namespace millrace::watch
