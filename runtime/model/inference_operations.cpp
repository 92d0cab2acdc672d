#include "runtime/model/inference_operations.hpp"

#include "kernels/add.hpp"
#include "kernels/packed_matrix.hpp"
#include "kernels/rms_norm.hpp"
#include "kernels/rope.hpp"
#include "kernels/swiglu.hpp"
#include "kernels/token_logprob.hpp"
#include "runtime/model/matrix_product.hpp"

#include <ATen/ATen.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/GradMode.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <stdexcept>

namespace millrace::model {
namespace {

static_assert(sizeof(void*) == 8 && sizeof(kernels::cache_place) == 16 && sizeof(kernels::sampling_rule) == 16);

/// CUDA starts a kernel on the thread's current device alone.
using on_device_of = c10::OptionalDeviceGuard;

/// LibTorch's stream of this thread: what is enqueued there runs in order with LibTorch's own operations.
CUstream_st* current_stream(at::Device device) {
  const c10::impl::VirtualGuardImpl guard(device.type());
  return static_cast<CUstream_st*>(guard.getStreamNativeHandle(guard.getStream(device)));
}

/// Words of 8 bytes that go to a GPU in one copy, without waiting for it.
class upload {
public:
  upload(std::int64_t words, at::Device device)
      : host_(at::empty({words}, at::TensorOptions(at::kLong).pinned_memory(true))),
        device_(at::empty({words}, at::TensorOptions(at::kLong).device(device))) {}

  /// Where word `index` is written, and where it will lie.
  template <class T = std::int64_t>
  T* host(std::int64_t index) {
    return reinterpret_cast<T*>(host_.data_ptr<std::int64_t>() + index);
  }

  template <class T = std::int64_t>
  T* device(std::int64_t index) {
    return reinterpret_cast<T*>(device_.data_ptr<std::int64_t>() + index);
  }

  /// The copy; it is complete for whatever is enqueued after it.
  const at::Tensor& send() { return device_.copy_(host_, true); }

private:
  at::Tensor host_, device_;
};

bool are_all(std::span<const std::int64_t> indices, std::int64_t rows) {
  if (static_cast<std::int64_t>(indices.size()) != rows)
    return false;
  for (std::int64_t i = 0; i < rows; ++i)
    if (indices[static_cast<std::size_t>(i)] != i)
      return false;
  return true;
}

const kernels::packed_matrix& packed_in(const linear_weight& layer) {
  if (!layer.packed)
    throw std::invalid_argument("inference_operations: the decoder is not packed");
  return *layer.packed;
}

} // namespace

at::Tensor inference_operations::forward(const decoder& policy, std::span<const inference_row> rows) {
  const c10::NoGradGuard no_grad;
  const auto& config = policy.config();
  for (const auto& row : rows) {
    if (row.token < 0 || row.token >= config.vocab_size)
      throw std::invalid_argument("token " + std::to_string(row.token) + ": want one in [0, "
                                  + std::to_string(config.vocab_size) + ")");
    if (row.position < 0 || row.position >= row.sequence->length() || row.position >= config.max_positions)
      throw std::invalid_argument("position " + std::to_string(row.position) + ": want one within the sequence ("
                                  + std::to_string(row.sequence->length()) + ") and the context ("
                                  + std::to_string(config.max_positions) + ")");
  }
  if (!rows.empty())
    cached_as_ = rows.front().sequence->stored_as();
  const auto device = policy.device();
  const auto [tokens, positions] = device.is_cpu() ? on_cpu(rows) : on_gpu(rows, device);
  return policy.hidden(*this, tokens, positions);
}

inference_operations::inputs inference_operations::on_cpu(std::span<const inference_row> rows) {
  const auto count = static_cast<std::int64_t>(rows.size());
  const inputs in{at::empty({count}, at::kLong), at::empty({count}, at::kLong)};
  auto* token = in.tokens.data_ptr<std::int64_t>();
  auto* position = in.positions.data_ptr<std::int64_t>();
  places_.clear();
  for (const auto& row : rows) {
    *token++ = row.token;
    *position++ = row.position;
    places_.push_back({row.sequence->blocks(), row.position});
  }
  where_ = places_.data();
  return in;
}

inference_operations::inputs inference_operations::on_gpu(std::span<const inference_row> rows, at::Device device) {
  const auto blocks_of = [](const kv_sequence& sequence) {
    return (sequence.length() + kernels::cache_block_tokens - 1) / kernels::cache_block_tokens;
  };
  const auto count = static_cast<std::int64_t>(rows.size());
  const auto begins_sequence = [&](std::size_t r) { return r == 0 || rows[r].sequence != rows[r - 1].sequence; };
  std::int64_t blocks = 0;
  for (std::size_t r = 0; r < rows.size(); ++r)
    if (begins_sequence(r))
      blocks += blocks_of(*rows[r].sequence);

  // Tokens, positions, places, and the blocks of each sequence that the places point at.
  upload data(4 * count + blocks, device);
  std::int64_t next = 4 * count, table = next;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const auto& row = rows[r];
    const auto i = static_cast<std::int64_t>(r);
    if (begins_sequence(r)) {
      table = next;
      next += blocks_of(*row.sequence);
      std::copy_n(row.sequence->blocks(), next - table, data.host<void*>(table));
    }
    *data.host(i) = row.token;
    *data.host(count + i) = row.position;
    *data.host<kernels::cache_place>(2 * count + 2 * i) = {data.device<void*>(table), row.position};
  }
  uploaded_ = data.send();
  where_ = data.device<const kernels::cache_place>(2 * count);
  stream_ = current_stream(uploaded_.device());
  return {uploaded_.narrow(0, 0, count), uploaded_.narrow(0, count, count)};
}

at::Tensor inference_operations::logits(const decoder& policy, const at::Tensor& hidden,
                                        std::span<const std::int64_t> indices) {
  const c10::NoGradGuard no_grad;
  const auto count = static_cast<std::int64_t>(indices.size());
  at::Tensor rows = hidden;
  if (hidden.is_cpu()) {
    const std::int64_t width = hidden.size(1);
    rows = at::empty({count, width}, at::kFloat);
    for (std::int64_t i = 0; i < count; ++i)
      std::copy_n(hidden.const_data_ptr<float>() + indices[static_cast<std::size_t>(i)] * width, width,
                  rows.data_ptr<float>() + i * width);
  } else if (!are_all(indices, hidden.size(0))) {
    upload data(count, hidden.device());
    std::copy(indices.begin(), indices.end(), data.host(0));
    rows = hidden.index_select(0, data.send());
  }
  const auto* head = &policy.head();
  at::Tensor y;
  linear(rows, {&head, 1}, {&y, 1});
  return y;
}

std::vector<drawn_token> inference_operations::sample(const at::Tensor& logits, std::span<const draw> draws) {
  const auto count = static_cast<std::int64_t>(draws.size());
  const std::int64_t vocab = logits.size(1);
  const float* first = logits.data_ptr<float>();
  std::vector<drawn_token> drawn(draws.size());
  at::Tensor tokens, logprob;
  if (logits.is_cpu()) {
    std::vector<const float*> rows;
    std::vector<kernels::sampling_rule> rules;
    std::vector<double> uniforms;
    for (const auto& one : draws) {
      rows.push_back(first + one.row * vocab);
      rules.push_back(one.rule);
      uniforms.push_back(one.uniform);
    }
    tokens = at::empty({count}, at::kInt);
    logprob = at::empty({count}, at::kFloat);
    kernels::sample_token({.logits = rows.data(),
                           .rules = rules.data(),
                           .uniform = uniforms.data(),
                           .token = tokens.data_ptr<std::int32_t>(),
                           .logprob = logprob.data_ptr<float>(),
                           .rows = count,
                           .vocab = vocab},
                          team_);
  } else {
    upload data(4 * count, logits.device()); // rows, rules of two words, uniforms
    for (std::int64_t i = 0; i < count; ++i) {
      const auto& one = draws[static_cast<std::size_t>(i)];
      *data.host<const float*>(i) = first + one.row * vocab;
      *data.host<kernels::sampling_rule>(count + 2 * i) = one.rule;
      *data.host<double>(3 * count + i) = one.uniform;
    }
    data.send();
    at::Tensor both = at::empty({2, count}, logits.options().dtype(at::kInt)); // brought back in one copy
    const on_device_of here(logits.device());
    kernels::sample_token_cuda({.logits = data.device<const float*>(0),
                                .rules = data.device<const kernels::sampling_rule>(count),
                                .uniform = data.device<const double>(3 * count),
                                .token = both.data_ptr<std::int32_t>(),
                                .logprob = both.view(at::kFloat).data_ptr<float>() + count,
                                .rows = count,
                                .vocab = vocab},
                               current_stream(logits.device()));
    both = both.cpu();
    tokens = both[0];
    logprob = both[1].view(at::kFloat);
  }
  for (std::size_t i = 0; i < drawn.size(); ++i)
    drawn[i] = {tokens.data_ptr<std::int32_t>()[i], logprob.data_ptr<float>()[i]};
  return drawn;
}

std::vector<float> inference_operations::logprobs(const at::Tensor& logits, std::span<const std::int32_t> targets,
                                                  float temperature) {
  const auto count = static_cast<std::int64_t>(targets.size());
  std::vector<float> logprob(targets.size());
  kernels::token_logprob_args args{.logits = logits.data_ptr<float>(),
                                   .targets = targets.data(),
                                   .logprob = logprob.data(),
                                   .tokens = count,
                                   .vocab = logits.size(1),
                                   .temperature = temperature};
  if (logits.is_cpu()) {
    kernels::token_logprob(args, team_);
    return logprob;
  }
  upload data((count + 1) / 2, logits.device()); // two targets a word
  std::copy(targets.begin(), targets.end(), data.host<std::int32_t>(0));
  data.send();
  const at::Tensor result = at::empty({count}, logits.options());
  args.targets = data.device<const std::int32_t>(0);
  args.logprob = result.data_ptr<float>();
  const on_device_of there(logits.device());
  kernels::token_logprob_cuda(args, current_stream(logits.device()));
  const at::Tensor here = result.cpu();
  std::copy_n(here.data_ptr<float>(), count, logprob.data());
  return logprob;
}

at::Tensor inference_operations::embed(const linear_weight& table, const at::Tensor& tokens) {
  if (!tokens.is_cpu())
    return table.weight.index_select(0, tokens);
  const auto& packed = packed_in(table);
  const std::int64_t width = packed.in(), count = tokens.size(0);
  at::Tensor x = at::empty({count, width}, at::kFloat);
  for (std::int64_t t = 0; t < count; ++t)
    packed.copy_row(tokens.const_data_ptr<std::int64_t>()[t], x.data_ptr<float>() + t * width);
  return x;
}

void inference_operations::linear(const at::Tensor& x, std::span<const linear_weight* const> layers,
                                  std::span<at::Tensor> y) {
  if (!x.is_cpu()) {
    for (std::size_t i = 0; i < layers.size(); ++i)
      y[i] = product_transposed(x, layers[i]->weight, layers[i]->bias);
    return;
  }
  std::vector<kernels::packed_product> products;
  products.reserve(layers.size());
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const auto& layer = *layers[i];
    const auto& packed = packed_in(layer);
    y[i] = at::empty({x.size(0), packed.out()}, at::kFloat);
    products.push_back(
        {&packed, layer.bias.defined() ? layer.bias.data_ptr<float>() : nullptr, y[i].data_ptr<float>()});
  }
  kernels::packed_linear(x.data_ptr<float>(), x.size(0), products, team_);
}

at::Tensor inference_operations::rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  const at::Tensor source = x.contiguous();
  at::Tensor y = at::empty(source.sizes(), source.options());
  const std::int64_t width = weight.size(0);
  const kernels::rms_norm_args args{.x = source.data_ptr<float>(),
                                    .weight = weight.data_ptr<float>(),
                                    .y = y.data_ptr<float>(),
                                    .rows = source.numel() / width,
                                    .width = width,
                                    .eps = static_cast<float>(eps)};
  if (x.is_cpu()) {
    kernels::rms_norm(args, team_);
  } else {
    const on_device_of here(x.device());
    kernels::rms_norm_cuda(args, stream_);
  }
  return y;
}

at::Tensor inference_operations::add(const at::Tensor& a, const at::Tensor& b) {
  if (a.is_cpu()) // ATen would add with threads that nobody gave this object
    kernels::add(a.data_ptr<float>(), b.data_ptr<float>(), a.numel(), team_);
  else
    a.add_(b);
  return a;
}

at::Tensor inference_operations::swiglu(const at::Tensor& gate, const at::Tensor& up) {
  const kernels::swiglu_args args{
      .gate = gate.data_ptr<float>(), .up = up.data_ptr<float>(), .y = gate.data_ptr<float>(), .count = gate.numel()};
  if (gate.is_cpu()) {
    kernels::swiglu(args, team_);
  } else {
    const on_device_of here(gate.device());
    kernels::swiglu_cuda(args, stream_);
  }
  return gate;
}

at::Tensor inference_operations::rope(const at::Tensor& x, const at::Tensor& positions, const at::Tensor& cos,
                                      const at::Tensor& sin) {
  const kernels::rope_args args{.x = x.data_ptr<float>(),
                                .positions = positions.data_ptr<std::int64_t>(),
                                .cos = cos.data_ptr<float>(),
                                .sin = sin.data_ptr<float>(),
                                .rows = x.size(0),
                                .heads = x.size(1),
                                .head_dim = x.size(2)};
  if (x.is_cpu()) {
    kernels::rope(args, team_);
  } else {
    const on_device_of here(x.device());
    kernels::rope_cuda(args, stream_);
  }
  return x;
}

at::Tensor inference_operations::attention(std::int64_t layer, const at::Tensor& q, const at::Tensor& k,
                                           const at::Tensor& v) {
  at::Tensor y = at::empty({q.size(0), q.size(1) * q.size(2)}, q.options());
  const auto layer_numbers = kernels::cache_layer_numbers(k.size(1), q.size(2), cached_as_);
  const kernels::cached_attention_args args{.q = q.data_ptr<float>(),
                                            .places = where_,
                                            .y = y.data_ptr<float>(),
                                            .rows = q.size(0),
                                            .heads = q.size(1),
                                            .kv_heads = k.size(1),
                                            .head_dim = q.size(2),
                                            .layer_offset = layer * layer_numbers,
                                            .cached_as = cached_as_};
  if (q.is_cpu()) {
    kernels::append_to_cache(args, k.data_ptr<float>(), v.data_ptr<float>(), team_);
    kernels::cached_attention(args, team_);
  } else {
    const on_device_of here(q.device());
    kernels::append_to_cache_cuda(args, k.data_ptr<float>(), v.data_ptr<float>(), stream_);
    kernels::cached_attention_cuda(args, stream_);
  }
  return y;
}

} // namespace millrace::model
