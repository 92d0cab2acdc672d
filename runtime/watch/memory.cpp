#include "runtime/watch/memory.hpp"

#include <dlfcn.h>
#include <unistd.h>

#include <fstream>

namespace millrace::watch {
namespace {

struct nvml_memory {
  unsigned long long total, free, used;
};

struct nvml_utilisation {
  unsigned gpu, memory;
};

/// NVIDIA's management library, which comes with the driver: loaded where it is there.
/// https://docs.nvidia.com/deploy/nvml-api/
class nvml {
public:
  nvml() : library_(::dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL)) {
    int (*init)() = nullptr;
    ready_ = library_ != nullptr && load(init, "nvmlInit_v2") && load(count_, "nvmlDeviceGetCount_v2")
             && load(handle_, "nvmlDeviceGetHandleByIndex_v2") && load(memory_, "nvmlDeviceGetMemoryInfo")
             && load(utilisation_, "nvmlDeviceGetUtilizationRates") && init() == 0;
  }

  std::vector<gpu_use> all() const {
    std::vector<gpu_use> found;
    unsigned count = 0;
    if (!ready_ || count_(&count) != 0)
      return found;
    for (unsigned i = 0; i < count; ++i) {
      void* device = nullptr;
      nvml_memory memory{};
      nvml_utilisation busy{};
      if (handle_(i, &device) != 0 || memory_(device, &memory) != 0)
        continue;
      utilisation_(device, &busy); // a part of a GPU has none: 0
      found.push_back({.index = static_cast<int>(i),
                       .memory_used = static_cast<std::int64_t>(memory.used),
                       .memory_total = static_cast<std::int64_t>(memory.total),
                       .utilisation = busy.gpu / 100.0});
    }
    return found;
  }

private:
  template <class Function>
  bool load(Function& into, const char* name) {
    into = reinterpret_cast<Function>(::dlsym(library_, name));
    return into != nullptr;
  }

  void* library_; ///< stays loaded until the process ends
  bool ready_ = false;
  int (*count_)(unsigned*) = nullptr;
  int (*handle_)(unsigned, void**) = nullptr;
  int (*memory_)(void*, nvml_memory*) = nullptr;
  int (*utilisation_)(void*, nvml_utilisation*) = nullptr;
};

} // namespace

std::optional<std::int64_t> resident_bytes(std::int64_t pid) {
  std::ifstream about("/proc/" + std::to_string(pid) + "/statm");
  std::int64_t all = 0, resident = 0;
  if (!(about >> all >> resident))
    return std::nullopt;
  return resident * ::sysconf(_SC_PAGESIZE);
}

std::vector<gpu_use> gpus_in_use() {
  static const nvml library;
  return library.all();
}

} // namespace millrace::watch
