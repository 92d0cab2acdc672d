#pragma once

#include "runtime/messages/weights.hpp"
#include "runtime/model/weights.hpp"
#include "runtime/transport/data_plane.hpp"
#include "runtime/words/precision.hpp"

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace millrace::columns {

/// A snapshot of parameters as a bundle, one column a parameter. Later training changes other memory.
/// @param sent what the columns are; bfloat16 rounds every number, once
transport::bundle bundle_of(const model::weights& parameters, precision sent = precision::float32);

/// A bundle over the memory of fp32 parameters on a CPU, which it keeps alive. Nobody may write to it.
/// @returns nothing for other parameters
std::optional<transport::bundle> bundle_over(std::shared_ptr<const model::weights> parameters);

/// How numbers kept so travel.
dtype dtype_of(precision kept);

/// The other way. @throws std::invalid_argument for what is no weight
precision precision_of(const tensor_spec& spec);

/// The parameters in a bundle's own memory, which they keep alive. Nobody may write to them.
/// @throws std::invalid_argument for a column that is neither fp32 nor bfloat16
model::weights weights_of(const transport::bundle& parameters);

/// The parameters of a version as they arrive: whole, or as the shares of the learner's ranks.
struct pulled_weights {
  std::vector<transport::bundle> shares;
  std::vector<tensor_spec> whole; ///< as in `weight_shares`

  bool empty() const { return shares.empty(); }
};

/// Pulls all shares at once. `done` is called exactly once, as `data_plane::pull` calls it; with an error there are no
/// weights.
void pull_weights(transport::data_plane& data, const weight_shares& from, std::chrono::milliseconds timeout,
                  std::function<void(pulled_weights pulled, std::string error)> done);

/// As above; shares are put together in new memory. A share's columns are pieces of tensors, one a tensor at most.
/// @throws std::invalid_argument for shares that do not make up `whole`
model::weights weights_of(const pulled_weights& parameters);

} // namespace millrace::columns
