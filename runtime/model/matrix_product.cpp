#include "runtime/model/matrix_product.hpp"

#include "kernels/instruction_set.hpp"
#include "runtime/model/float_tensor.hpp"

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

/// Whether bfloat16 is multiplied as it is. LibTorch's own loops, without oneDNN's, take twenty times as long as fp32.
bool multiplies_half(at::Device device) {
  static const bool on_cpu = onednn_linear::get() && kernels::best_instruction_set() >= kernels::instruction_set::avx512
                             && __builtin_cpu_supports("avx512bf16");
  return on_cpu || !device.is_cpu();
}

bool is_half_by_float(const at::Tensor& a) {
  return a.scalar_type() == at::kBFloat16 && !multiplies_half(a.device());
}

/// a b^T + bias, summed in one piece.
at::Tensor in_one_piece(const at::Tensor& a, const at::Tensor& b, const at::Tensor& bias) {
  if (!suits_onednn(a, b))
    return bias.defined() ? at::addmm(bias, a, b.t()) : at::mm(a, b.t());
  return (*onednn_linear::get())(a, b, bias.defined() ? std::optional(bias) : std::nullopt);
}

/// Inputs that one product sums: oneDNN's chains are as long as it is let, and rounding grows with their root.
constexpr std::int64_t longest_chain = 384;

} // namespace

at::Tensor product_transposed(const at::Tensor& a, const at::Tensor& b, const at::Tensor& bias) {
  const at::NoGradGuard no_grad;
  if (is_half_by_float(a))
    return in_one_piece(widened(a), widened(b), bias.defined() ? widened(bias) : bias).to(at::kBFloat16);
  const std::int64_t in = a.size(1), pieces = (in + longest_chain - 1) / longest_chain;
  if (pieces == 1 || !suits_onednn(a, b))
    return in_one_piece(a, b, bias);
  const auto& linear = *onednn_linear::get();
  const std::optional<at::Tensor> first_bias = bias.defined() ? std::optional(bias) : std::nullopt;
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
  if (is_half_by_float(a))
    return wide_product(a, b).to(at::kBFloat16);
  return suits_onednn(a, b) ? (*onednn_linear::get())(a, b.t(), std::nullopt) : at::mm(a, b);
}

at::Tensor wide_product_transposed(const at::Tensor& a, const at::Tensor& b) {
  return wide_product(a, b.t());
}

at::Tensor wide_product(const at::Tensor& a, const at::Tensor& b) {
  const at::NoGradGuard no_grad;
  if (!a.is_cpu())
    return at::mm(a, b, at::kFloat);
  // As oneDNN wants them, or it would copy what is twice as wide.
  return product(widened(a.contiguous()), widened(b.t().contiguous()).t());
}

} // namespace millrace::model
