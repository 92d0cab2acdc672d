// NCCL between GPUs. The communicator does not block: every call returns at once, and its state is asked for.

#include "runtime/collective/device_wire.hpp"
#include "runtime/collective/group.hpp"

#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>
#include <nccl.h>

#include <array>
#include <cstring>
#include <optional>
#include <string_view>

namespace millrace::collective {
namespace {

void check(ncclResult_t result, ncclComm_t of = nullptr) {
  if (result != ncclSuccess && result != ncclInProgress)
    throw lost(std::string("NCCL: ") + ncclGetErrorString(result)
               + (of != nullptr && *ncclGetLastError(of) != 0 ? std::string(": ") + ncclGetLastError(of) : ""));
}

void check(cudaError_t result) {
  if (result != cudaSuccess)
    throw lost(std::string("CUDA: ") + cudaGetErrorString(result));
}

std::string version() {
  int number = 0; // 22809: 2.28.9
  check(ncclGetVersion(&number));
  return "NCCL " + std::to_string(number / 10'000) + "." + std::to_string(number / 100 % 100) + "."
         + std::to_string(number % 100);
}

class nccl_wire : public device_wire {
public:
  nccl_wire(at::Device gpu, int rank, int size, const ncclUniqueId& id) : gpu_(gpu), stream_(stream_of(gpu)) {
    const c10::cuda::CUDAGuard guard(gpu_);
    check(cudaEventCreateWithFlags(&before_, cudaEventDisableTiming));
    check(cudaEventCreateWithFlags(&after_, cudaEventDisableTiming));
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    check(ncclCommInitRankConfig(&ranks_, size, id, rank, &config));
  }

  /// An abort waits for nobody, and after a farewell there is nothing to lose.
  ~nccl_wire() override {
    const c10::cuda::CUDAGuard guard(gpu_);
    abort();
    cudaEventDestroy(before_);
    cudaEventDestroy(after_);
  }

  at::Device device() const override { return gpu_; }

  void start(std::span<const at::Tensor> outgoing, std::span<const at::Tensor> incoming) override {
    const c10::cuda::CUDAGuard guard(gpu_);
    check(cudaEventRecord(before_, c10::cuda::getCurrentCUDAStream(gpu_.index())));
    check(cudaStreamWaitEvent(stream_, before_));
    check(ncclGroupStart());
    for (std::size_t r = 0; r < outgoing.size(); ++r) {
      const auto peer = static_cast<int>(r);
      if (outgoing[r].defined())
        check(ncclSend(outgoing[r].const_data_ptr(), outgoing[r].nbytes(), ncclInt8, peer, ranks_, stream_), ranks_);
      if (incoming[r].defined())
        check(ncclRecv(incoming[r].data_ptr(), incoming[r].nbytes(), ncclInt8, peer, ranks_, stream_), ranks_);
    }
    check(ncclGroupEnd(), ranks_);
    stage_ = stage::launching;
  }

  /// Nothing may enter the stream before NCCL has: the mark that says "done" follows when NCCL is no longer in
  /// progress.
  bool ended() override {
    if (stage_ == stage::idle)
      return true;
    const c10::cuda::CUDAGuard guard(gpu_);
    ncclResult_t state = ncclSuccess;
    check(ncclCommGetAsyncError(ranks_, &state), ranks_);
    check(state, ranks_);
    if (state == ncclInProgress)
      return false;
    if (stage_ == stage::launching) {
      check(cudaEventRecord(after_, stream_));
      stage_ = stage::running;
    }
    if (stage_ == stage::running) {
      if (const auto found = cudaEventQuery(after_); found == cudaErrorNotReady)
        return false;
      else
        check(found);
    }
    stage_ = stage::idle;
    return true;
  }

  void abort() override {
    if (ranks_ != nullptr)
      ncclCommAbort(std::exchange(ranks_, nullptr));
  }

private:
  enum class stage { connecting, idle, launching, running };

  static c10::cuda::CUDAStream stream_of(at::Device gpu) { return c10::cuda::getStreamFromPool(true, gpu.index()); }

  const at::Device gpu_;
  const c10::cuda::CUDAStream stream_;
  cudaEvent_t before_ = nullptr, after_ = nullptr;
  ncclComm_t ranks_ = nullptr;
  stage stage_ = stage::connecting;
};

class nccl_port : public device_port {
public:
  explicit nccl_port(at::Device device) : device_(device) {}

  device_facts facts() const override {
    device_facts found{.device = device_.str(), .gpu = "", .library = version()};
    if (!device_.is_cuda())
      return found;
    cudaDeviceProp properties{};
    check(cudaGetDeviceProperties(&properties, number()));
    found.gpu = std::string(properties.uuid.bytes, sizeof properties.uuid.bytes);
    return found;
  }

  std::string invitation() const override {
    ncclUniqueId id;
    check(ncclGetUniqueId(&id));
    return {id.internal, sizeof id.internal};
  }

  std::unique_ptr<device_wire> connect(int rank, int size, const std::string& invitation) const override {
    ncclUniqueId id;
    if (invitation.size() != sizeof id.internal)
      throw lost("NCCL: an invitation of " + std::to_string(invitation.size()) + " bytes, want "
                 + std::to_string(sizeof id.internal));
    std::memcpy(id.internal, invitation.data(), sizeof id.internal);
    return std::make_unique<nccl_wire>(at::Device(device_.type(), static_cast<c10::DeviceIndex>(number())), rank, size,
                                       id);
  }

private:
  /// "cuda" is the device that CUDA calls current.
  int number() const { return device_.has_index() ? device_.index() : c10::cuda::current_device(); }

  at::Device device_;
};

} // namespace

std::shared_ptr<const device_port> port_of(at::Device device) {
  return std::make_shared<nccl_port>(device);
}

} // namespace millrace::collective
