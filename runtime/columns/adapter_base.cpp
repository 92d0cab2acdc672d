#include "runtime/columns/adapter_base.hpp"

#include "runtime/columns/weights_bundle.hpp"
#include "runtime/model/checkpoint.hpp"
#include "runtime/model/float_tensor.hpp"
#include "runtime/transport/packing.hpp"
#include "runtime/transport/shared_memory.hpp"

#include <array>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace millrace::columns {
namespace {

constexpr const char *rank_column = "rank", *alpha_column = "alpha";

} // namespace

transport::bundle bundle_of(const model::adapter& adapter) {
  const std::array<std::int64_t, 1> rank{adapter.rank};
  const std::array<double, 1> alpha{adapter.alpha};
  return transport::bundle_builder()
      .add<std::int64_t>(rank_column, rank)
      .add<double>(alpha_column, alpha)
      .add_all(bundle_of(adapter.parameters))
      .finish();
}

model::adapter adapter_of(const transport::bundle& adapter) {
  const auto rank = adapter.view<std::int64_t>(rank_column);
  const auto alpha = adapter.view<double>(alpha_column);
  if (rank.size() != 1 || alpha.size() != 1 || rank[0] < 1)
    throw std::invalid_argument("weights: an adapter without one rank and one alpha");
  std::vector<std::size_t> halves;
  for (std::size_t i = 0; i < adapter.columns().size(); ++i)
    if (const auto& name = adapter.columns()[i].spec.name; name != rank_column && name != alpha_column)
      halves.push_back(i);
  return {.rank = rank[0], .alpha = alpha[0], .parameters = weights_of(adapter.only(halves)), .base_path = {}};
}

void adapter_base::check(const ticket& version) const {
  const auto refuse = [&](const std::string& found, const std::string& want) {
    throw std::runtime_error(path_.string() + ": found " + found + ", want the base of the policy's adapter, which has "
                             + want);
  };
  for (std::size_t i = 0; i < std::max(version.layout.size(), weights_->size()); ++i) {
    const auto own = i < weights_->size()
                         ? to_string(tensor_spec{(*weights_)[i].name, dtype::f32, (*weights_)[i].tensor.sizes().vec()})
                         : "nothing more";
    const auto want = i < version.layout.size()
                          ? to_string(tensor_spec{version.layout[i].name, dtype::f32, version.layout[i].shape})
                          : "nothing more";
    if (own != want)
      refuse(own, want);
  }
}

transport::bundle adapter_base::merged(const transport::bundle& adapter, const ticket& version) {
  if (!weights_)
    weights_ = model::load_checkpoint(path_, {.kept = std::nullopt}).parameters;
  check(version);
  const auto where = transport::pack(version.layout);
  auto all = transport::shared_memory::make(where.bytes);
  std::size_t next = 0;
  model::merge(*weights_, adapter_of(adapter), [&](const std::string&, const at::Tensor& now) {
    const auto& spec = version.layout[next];
    model::floats_over(all->data() + where.offsets[next], spec.shape, precision_of(spec), all).copy_(now);
    ++next;
  });
  auto made = transport::bundle::over(version.layout, std::move(all));
  const auto sums = made.checksums();
  for (std::size_t i = 0; i < sums.size(); ++i)
    if (i >= version.checksums.size() || sums[i] != version.checksums[i])
      throw std::runtime_error(path_.string() + ": with the policy's adapter it comes to another "
                               + version.layout[i].name + ", want the model that the policy's process has read");
  return made;
}

std::size_t adapter_base::bytes() const {
  std::size_t bytes = 0;
  if (weights_)
    for (const auto& one : *weights_)
      bytes += one.tensor.nbytes();
  return bytes;
}

} // namespace millrace::columns
