#include "runtime/model/matrix_product.hpp"

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/grad_mode.h>

namespace millrace::model {
namespace {

using linear_pointwise = at::Tensor(const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&,
                                    std::string_view, c10::List<std::optional<at::Scalar>>,
                                    std::optional<std::string_view>);
using linear_binary = at::Tensor(const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                 const std::optional<at::Tensor>&, std::string_view);

/// LibTorch's oneDNN linear layer, or nothing in a build without oneDNN.
class onednn_linear {
public:
  static const std::optional<onednn_linear>& get() {
    static const std::optional<onednn_linear> found = look_up();
    return found;
  }

  at::Tensor operator()(const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& bias) const {
    return alone_.call(x, weight, bias, "none", c10::List<std::optional<at::Scalar>>(), std::nullopt);
  }

  /// x W^T + y
  at::Tensor added(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& y) const {
    return binary_.call(x, y, weight, std::nullopt, "add");
  }

private:
  onednn_linear(c10::TypedOperatorHandle<linear_pointwise> alone, c10::TypedOperatorHandle<linear_binary> binary)
      : alone_(alone), binary_(binary) {}

  static std::optional<onednn_linear> look_up() {
    const auto alone = c10::Dispatcher::singleton().findSchema({"mkldnn::_linear_pointwise", ""});
    const auto binary = c10::Dispatcher::singleton().findSchema({"mkldnn::_linear_pointwise", "binary"});
    if (!alone || !binary || !alone->hasKernelForDispatchKey(c10::DispatchKey::CPU))
      return std::nullopt;
    return onednn_linear(alone->typed<linear_pointwise>(), binary->typed<linear_binary>());
  }

  c10::TypedOperatorHandle<linear_pointwise> alone_;
  c10::TypedOperatorHandle<linear_binary> binary_;
};

bool suits_onednn(const at::Tensor& a, const at::Tensor& b) {
  return onednn_linear::get() && a.is_cpu() && a.scalar_type() == at::kFloat && a.numel() > 0 && b.numel() > 0;
}

/// Inputs that one product sums: oneDNN's chains are as long as it is let, and rounding grows with their root.
constexpr std::int64_t longest_chain = 384;

} // namespace

at::Tensor product_transposed(const at::Tensor& a, const at::Tensor& b, const at::Tensor& bias) {
  const at::NoGradGuard no_grad;
  if (!suits_onednn(a, b))
    return bias.defined() ? at::addmm(bias, a, b.t()) : at::mm(a, b.t());
  const auto& linear = *onednn_linear::get();
  const std::optional<at::Tensor> first_bias = bias.defined() ? std::optional(bias) : std::nullopt;
  const std::int64_t in = a.size(1), pieces = (in + longest_chain - 1) / longest_chain;
  if (pieces == 1)
    return linear(a, b, first_bias);
  at::Tensor y;
  for (std::int64_t i = 0; i < pieces; ++i) {
    const std::int64_t begin = in * i / pieces, length = in * (i + 1) / pieces - begin;
    // Copies: oneDNN reads rows with a stride a thousand times slower.
    const at::Tensor x = a.narrow(1, begin, length).contiguous(), weight = b.narrow(1, begin, length).contiguous();
    y = i == 0 ? linear(x, weight, first_bias) : linear.added(x, weight, y);
  }
  return y;
}

at::Tensor product(const at::Tensor& a, const at::Tensor& b) {
  const at::NoGradGuard no_grad;
  return suits_onednn(a, b) ? (*onednn_linear::get())(a, b.t(), std::nullopt) : at::mm(a, b);
}

} // namespace millrace::model
