#include "runtime/train/trainable.hpp"

#include "runtime/model/float_tensor.hpp"
#include "runtime/words/input_error.hpp"

#include <ATen/ATen.h>
#include <c10/core/impl/VirtualGuardImpl.h>

namespace millrace::train {

at::Device device_named(const std::string& name, const std::string& asked_by) {
  const bool usable = at::hasCUDA(); // asks the driver for devices
  if (name == "auto")
    return at::Device(usable ? at::kCUDA : at::kCPU);
  const at::Device device(name);
  if (device.is_cuda() && !usable)
#ifdef MILLRACE_CUDA
    throw input_error(asked_by + ": found \"" + name
                      + "\", but no CUDA device answers on this machine; want \"cpu\" or \"auto\"");
#else
    throw input_error(asked_by + ": found \"" + name
                      + "\", but this program was built without MILLRACE_CUDA; want \"cpu\" or \"auto\"");
#endif
  if (device.has_index())
    if (const auto count = c10::impl::VirtualGuardImpl(device.type()).deviceCount(); device.index() >= count)
      throw input_error(asked_by + ": found \"" + name + "\", want a GPU of this machine, which has "
                        + std::to_string(static_cast<int>(count)));
  return device;
}

model::weights trainable(const model::weights& parameters, at::Device device) {
  model::weights out;
  for (const auto& [name, tensor] : parameters) {
    at::Tensor leaf = tensor.detach().to(device, at::kFloat, false, true).contiguous().requires_grad_();
    out.push_back({name, leaf});
  }
  return out;
}

model::weights frozen(const model::weights& parameters, at::Device device, model::rounded_weights* rounded) {
  model::weights out;
  for (const auto& [name, tensor] : parameters) {
    const auto copy = [&](at::ScalarType type) { return tensor.detach().to(device, type, false, true).contiguous(); };
    const at::Tensor half = rounded ? copy(at::kBFloat16) : at::Tensor();
    const bool exact =
        half.defined() && at::equal(model::widened(tensor.detach()), half.to(tensor.device(), at::kFloat));
    out.push_back({name, exact ? half : copy(at::kFloat)});
    if (half.defined() && !exact)
      rounded->set(out.back().tensor, half);
  }
  return out;
}

} // namespace millrace::train
