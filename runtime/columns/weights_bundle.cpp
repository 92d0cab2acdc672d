#include "runtime/columns/weights_bundle.hpp"

#include "runtime/model/float_tensor.hpp"

#include <cstring>
#include <memory>
#include <mutex>
#include <stdexcept>

namespace millrace::columns {

dtype dtype_of(precision kept) {
  return kept == precision::float32 ? dtype::f32 : dtype::bf16;
}

transport::bundle bundle_of(const model::weights& parameters, precision sent) {
  const dtype type = dtype_of(sent);
  std::vector<tensor_spec> layout;
  for (const auto& parameter : parameters)
    layout.push_back({parameter.name, type, parameter.tensor.sizes().vec()});
  const auto where = transport::pack(layout);
  auto all = transport::shared_memory::make(where.bytes);
  for (std::size_t i = 0; i < layout.size(); ++i)
    model::floats_over(all->data() + where.offsets[i], layout[i].shape, sent, all).copy_(parameters[i].tensor.detach());
  return transport::bundle::over(layout, std::move(all));
}

std::optional<transport::bundle> bundle_over(std::shared_ptr<const model::weights> parameters) {
  std::vector<transport::column> columns;
  for (const auto& [name, tensor] : *parameters) {
    if (!tensor.is_cpu() || tensor.scalar_type() != at::kFloat || !tensor.is_contiguous())
      return std::nullopt;
    columns.push_back({{name, dtype::f32, tensor.sizes().vec()},
                       {static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()}});
  }
  return transport::bundle::wrap(std::move(columns), std::move(parameters));
}

precision precision_of(const tensor_spec& spec) {
  for (const auto kept : {precision::float32, precision::bfloat16})
    if (spec.type == dtype_of(kept))
      return kept;
  throw std::invalid_argument("weights: " + to_string(spec) + ", want f32 or bf16");
}

model::weights weights_of(const transport::bundle& parameters) {
  model::weights result;
  for (const auto& column : parameters.columns()) {
    result.push_back({column.spec.name, model::floats_over(column.bytes.data(), column.spec.shape,
                                                           precision_of(column.spec), parameters.owner())});
  }
  return result;
}

void pull_weights(transport::data_plane& data, const weight_shares& from, std::chrono::milliseconds timeout,
                  std::function<void(pulled_weights pulled, std::string error)> done) {
  if (from.tickets.empty())
    return done({}, "no weights were published");

  struct arrivals {
    std::mutex mutex;
    pulled_weights pulled;
    std::string error;
    std::size_t missing = 0;
  };

  const auto all = std::make_shared<arrivals>();
  all->pulled.whole = from.whole;
  all->pulled.shares.resize(from.tickets.size());
  all->missing = from.tickets.size();
  for (std::size_t i = 0; i < from.tickets.size(); ++i)
    data.pull(from.tickets[i], timeout, [all, i, done](transport::pull_result one) {
      {
        const std::lock_guard lock(all->mutex);
        if (one)
          all->pulled.shares[i] = std::move(one.value);
        else if (all->error.empty())
          all->error = one.error;
        if (--all->missing > 0)
          return;
      }
      if (all->error.empty())
        done(std::move(all->pulled), {});
      else
        done({}, all->error);
    });
}

namespace {

/// One tensor out of its pieces. @throws std::invalid_argument where they are not as many bytes as it has
at::Tensor put_together(const tensor_spec& spec, const std::vector<transport::bundle>& shares) {
  const at::Tensor whole = model::floats_of_shape(spec.shape, precision_of(spec));
  auto* const to = static_cast<std::byte*>(whole.mutable_data_ptr());
  std::size_t next = 0;
  for (const auto& share : shares) {
    if (!share.has(spec.name))
      continue;
    const auto& piece = share.at(spec.name);
    if (piece.spec.type != spec.type || next + piece.bytes.size() > whole.nbytes())
      throw std::invalid_argument("weights: a share has " + to_string(piece.spec) + ", which is no piece of "
                                  + to_string(spec));
    std::memcpy(to + next, piece.bytes.data(), piece.bytes.size());
    next += piece.bytes.size();
  }
  if (next != whole.nbytes())
    throw std::invalid_argument("weights: the shares have " + std::to_string(next) + " bytes of " + to_string(spec));
  return whole;
}

} // namespace

model::weights weights_of(const pulled_weights& parameters) {
  if (parameters.shares.size() == 1 && parameters.whole.empty())
    return weights_of(parameters.shares.front());
  model::weights result;
  for (const auto& spec : parameters.whole)
    result.push_back({spec.name, put_together(spec, parameters.shares)});
  return result;
}

} // namespace millrace::columns
