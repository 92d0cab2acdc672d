#include "runtime/model/inference_decoder.hpp"

#include <ATen/ATen.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <map>
#include <mutex>

namespace millrace::model {
namespace {

using device_calls = c10::impl::VirtualGuardImpl;

/// One for each device, not one for each call: LibTorch keeps the memory that a stream freed for that stream.
c10::Stream layout_stream(const device_calls& gpu, at::Device device) {
  static std::mutex mutex;
  static std::map<c10::DeviceIndex, c10::Stream> streams;
  const std::lock_guard lock(mutex);
  return streams.try_emplace(device.index(), gpu.getStreamFromGlobalPool(device)).first->second;
}

/// Frees a decoder once `readers` has ended what was enqueued there.
struct free_when_read {
  device_calls gpu;
  c10::Stream readers;

  void operator()(const decoder* used) const {
    try {
      gpu.synchronizeStream(readers);
    } catch (const c10::Error&) { // the failure of the work itself, which is told where its results are read
    }
    delete used;
  }
};

} // namespace

weights placed_on(const weights& parameters, at::Device device) {
  weights placed;
  for (const auto& [name, tensor] : parameters) {
    const bool stays = device.is_cpu() && tensor.dim() == 2 && tensor.scalar_type() == at::kBFloat16;
    placed.push_back({name, tensor.detach().to(device, stays ? at::kBFloat16 : at::kFloat).contiguous()});
  }
  return placed;
}

std::shared_ptr<const decoder> inference_decoder(const model_config& config, weights parameters, at::Device device,
                                                 sampling_precision kept, const layout_means& with) {
  if (device.is_cpu()) {
    auto made = std::make_shared<decoder>(config, placed_on(parameters, device));
    parameters.clear();
    made->pack(kept, with);
    return made;
  }
  const device_calls gpu(device.type());
  const at::Device here = device.has_index() ? device : gpu.getDevice();
  const c10::Stream aside = layout_stream(gpu, here);
  const c10::StreamGuard guard(aside);
  std::unique_ptr<const decoder> made = std::make_unique<decoder>(config, placed_on(parameters, here));
  gpu.synchronizeStream(aside);
  return {made.release(), free_when_read{gpu, gpu.getDefaultStream(here)}};
}

} // namespace millrace::model
