#pragma once

#include "runtime/model/decoder.hpp"
#include "runtime/model/weights.hpp"
#include "runtime/words/precision.hpp"

#include <c10/core/Device.h>

#include <memory>

namespace millrace::model {

/// The parameters on `device`, without a gradient: matrices of bfloat16 as they are on the CPU, everything else in
/// fp32. The very tensors that are so already, copies of the others.
weights placed_on(const weights& parameters, at::Device device);

/// A decoder that generates and scores on `device`: packed on the CPU, each matrix as it is given (bfloat16 or fp32),
/// or rounded to `kept` where that is narrower. There it lets each tensor go once that is packed: who moves the
/// parameters here needs no room for a second copy of them. Complete when this returns; while it is made, on a stream
/// of its own, a GPU goes on with what other threads enqueued. On a GPU its memory is given back once LibTorch's
/// default stream has ended what was enqueued there: decoding may still read it.
/// @param kept float32 on a GPU
/// @throws input_error as the decoder's constructor, and as `decoder::pack`
std::shared_ptr<const decoder> inference_decoder(const model_config& config, weights parameters, at::Device device,
                                                 sampling_precision kept = sampling_precision::float32,
                                                 const layout_means& with = {});

} // namespace millrace::model
