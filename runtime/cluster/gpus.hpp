#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace millrace::cluster {

/// The environment variable that says which GPUs CUDA shows to a process.
inline constexpr const char* gpus_variable = "CUDA_VISIBLE_DEVICES";

/// Where GPUs are looked for.
struct gpu_sources {
  std::optional<std::string> variable;                       ///< `gpus_variable`, where it is set
  std::filesystem::path devices = "/dev";                    ///< nvidia0, nvidia1, ...
  std::filesystem::path driver = "/proc/driver/nvidia/gpus"; ///< a folder for each GPU of the machine

  /// Those of this process.
  static gpu_sources here();
};

/// The GPUs that this process may use, in the order in which CUDA numbers them, each as `gpus_variable` names it: what
/// that variable lists, up to an entry that is negative; else the devices here; else, as devices may appear with their
/// first use, those that the driver knows. CUDA itself is not asked.
std::vector<std::string> visible_gpus(const gpu_sources& from = gpu_sources::here());

} // namespace millrace::cluster
