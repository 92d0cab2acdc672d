#include "runtime/model/matrix_product.hpp"

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>

namespace millrace::model {
namespace {

using linear_pointwise = at::Tensor(const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&, std::string_view,
                                    c10::List<std::optional<at::Scalar>>, std::optional<std::string_view>);

/// LibTorch's oneDNN linear layer, or nothing in a build without oneDNN.
const std::optional<c10::TypedOperatorHandle<linear_pointwise>>& onednn_linear() {
  static const auto found = [] {
    std::optional<c10::TypedOperatorHandle<linear_pointwise>> handle;
    const auto schema = c10::Dispatcher::singleton().findSchema({"mkldnn::_linear_pointwise", ""});
    if (schema && schema->hasKernelForDispatchKey(c10::DispatchKey::CPU))
      handle = schema->typed<linear_pointwise>();
    return handle;
  }();
  return found;
}

} // namespace

at::Tensor product_transposed(const at::Tensor& a, const at::Tensor& b, const at::Tensor& bias) {
  const at::NoGradGuard no_grad;
  const bool suits = a.is_cpu() && a.scalar_type() == at::kFloat && a.numel() > 0 && b.numel() > 0;
  if (suits && onednn_linear()) {
    const std::optional<at::Tensor> add = bias.defined() ? std::optional(bias) : std::nullopt;
    return onednn_linear()->call(a, b, add, "none", c10::List<std::optional<at::Scalar>>(), std::nullopt);
  }
  return bias.defined() ? at::addmm(bias, a, b.t()) : at::mm(a, b.t());
}

at::Tensor product(const at::Tensor& a, const at::Tensor& b) { return product_transposed(a, b.t()); }

} // namespace millrace::model
