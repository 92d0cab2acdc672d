#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace millrace::collective {

/// An exchange that did not come about: a rank that is gone, an abort, a deadline. The group is of no use any more.
class lost : public std::runtime_error {
public:
  using std::runtime_error::runtime_error;
};

/// The ranks of one learner, as one of them sees them.
class group {
public:
  virtual ~group() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;

  virtual void exchange(std::span<const at::Tensor> outgoing, std::span<const at::Tensor> incoming) = 0;

  virtual void abort(const std::string& why) = 0;

  struct waiting {
    std::vector<int> on;
    double since_s = 0;
  };

  virtual std::optional<waiting> waits() const = 0;
};

} // namespace millrace::collective
