#pragma once

#include <cuda_runtime.h>

#include <stdexcept>
#include <vector>

namespace millrace::test {

/// A device copy of a host vector; frees itself.
template <class T>
class device_buffer {
public:
  explicit device_buffer(const std::vector<T>& host) : size_(host.size()) {
    check(cudaMalloc(&data_, size_ * sizeof(T)));
    check(cudaMemcpy(data_, host.data(), size_ * sizeof(T), cudaMemcpyHostToDevice));
  }

  ~device_buffer() { cudaFree(data_); }

  device_buffer(const device_buffer&) = delete;
  device_buffer& operator=(const device_buffer&) = delete;

  T* get() const noexcept { return data_; }

  std::vector<T> to_host() const {
    std::vector<T> host(size_);
    check(cudaMemcpy(host.data(), data_, size_ * sizeof(T), cudaMemcpyDeviceToHost));
    return host;
  }

private:
  static void check(cudaError_t rc) {
    if (rc != cudaSuccess)
      throw std::runtime_error(cudaGetErrorString(rc));
  }

  T* data_ = nullptr;
  std::size_t size_ = 0;
};

} // namespace millrace::test
