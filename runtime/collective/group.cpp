#include "runtime/collective/group.hpp"

#include <ATen/ATen.h>

namespace millrace::collective {

std::vector<at::Tensor> gather(group& ranks, const at::Tensor& own, std::span<const std::int64_t> lengths) {
  const auto rank = static_cast<std::size_t>(ranks.rank()), size = static_cast<std::size_t>(ranks.size());
  if (lengths.size() != size)
    throw std::invalid_argument("gather: want " + std::to_string(size) + " lengths, got "
                                + std::to_string(lengths.size()));
  if (!own.defined() || own.dim() == 0 || own.size(0) != lengths[rank])
    throw std::invalid_argument("gather: want an own tensor of " + std::to_string(lengths[rank]) + " along dim 0, got "
                                + (own.defined() ? c10::str(own.sizes()) : "none"));
  std::vector<at::Tensor> all(size);
  auto shape = own.sizes().vec();
  for (std::size_t r = 0; r < size; ++r) {
    shape[0] = lengths[r];
    all[r] = r == rank ? own : at::empty(shape, own.options().requires_grad(false));
  }
  const std::vector<at::Tensor> outgoing(size, own.contiguous());
  ranks.exchange(outgoing, all);
  return all;
}

} // namespace millrace::collective
