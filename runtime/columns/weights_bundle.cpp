#include "runtime/columns/weights_bundle.hpp"

#include "runtime/model/float_tensor.hpp"

#include <memory>
#include <stdexcept>

namespace millrace::columns {

transport::bundle bundle_of(const model::weights& parameters, precision sent) {
  const dtype type = sent == precision::float32 ? dtype::f32 : dtype::bf16;
  auto snapshot = std::make_shared<model::weights>();
  std::vector<transport::column> columns;
  for (const auto& parameter : parameters) {
    // A copy also where the source is on the CPU and of the right type: the source goes on changing.
    at::Tensor copy = parameter.tensor.detach().to(at::kCPU, model::scalar_type(sent)).contiguous();
    if (copy.data_ptr() == parameter.tensor.data_ptr())
      copy = copy.clone();
    const auto bytes = static_cast<std::size_t>(copy.nbytes());
    columns.push_back(
        {{parameter.name, type, copy.sizes().vec()}, {static_cast<const std::byte*>(copy.data_ptr()), bytes}});
    snapshot->push_back({parameter.name, std::move(copy)});
  }
  return transport::bundle::wrap(std::move(columns), std::move(snapshot));
}

model::weights weights_of(const transport::bundle& parameters) {
  model::weights result;
  for (const auto& column : parameters.columns()) {
    if (column.spec.type != dtype::f32 && column.spec.type != dtype::bf16)
      throw std::invalid_argument("weights: " + to_string(column.spec) + ", want f32 or bf16");
    const auto kept = column.spec.type == dtype::f32 ? precision::float32 : precision::bfloat16;
    result.push_back(
        {column.spec.name, model::floats_over(column.bytes.data(), column.spec.shape, kept, parameters.owner())});
  }
  return result;
}

} // namespace millrace::columns
