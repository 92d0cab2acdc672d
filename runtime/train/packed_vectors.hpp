#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <cstring>
#include <vector>

namespace millrace::train {

/// A copy of the values as a tensor of one dimension whose elements have the size of T.
template <class T>
at::Tensor as_tensor(const std::vector<T>& values, at::ScalarType type) {
  at::Tensor made = at::empty({static_cast<std::int64_t>(values.size())}, type);
  if (!values.empty())
    std::memcpy(made.mutable_data_ptr(), values.data(), values.size() * sizeof(T));
  return made;
}

/// Takes `count` values off the front of what is left of a tensor.
template <class T>
class front_of {
public:
  explicit front_of(const at::Tensor& whole) : whole_(whole), next_(static_cast<const T*>(whole.const_data_ptr())) {}

  std::vector<T> take(std::int64_t count) {
    std::vector<T> taken(next_, next_ + count);
    next_ += count;
    return taken;
  }

private:
  at::Tensor whole_;
  const T* next_;
};

} // namespace millrace::train
