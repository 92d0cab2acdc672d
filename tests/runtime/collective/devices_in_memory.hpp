#pragma once

#include "runtime/collective/device_wire.hpp"
#include "runtime/collective/group.hpp"

#include <ATen/ATen.h>

#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace millrace::collective::testing {

/// Devices whose wires are this process's memory: their tensors lie on the CPU, and come as NCCL's do, after a while
/// and without a word when another rank is gone.
class devices_in_memory {
public:
  /// Tensors that were sent, and how many bytes.
  std::size_t sent() const {
    const std::lock_guard lock(mutex_);
    return sent_;
  }

  /// Nothing that is sent from now on arrives.
  void freeze() {
    const std::lock_guard lock(mutex_);
    frozen_ = true;
  }

  /// Every later look at a wire fails with `why`.
  void fail(const std::string& why) {
    const std::lock_guard lock(mutex_);
    failure_ = why;
  }

  std::shared_ptr<const device_port> port(const std::string& gpu, const std::string& library = "memory 1") {
    return std::make_shared<own_port>(*this, gpu, library);
  }

private:
  class own_wire : public device_wire {
  public:
    own_wire(devices_in_memory& all, int rank) : all_(all), rank_(rank) {}

    at::Device device() const override { return at::kCPU; }

    void start(std::span<const at::Tensor> outgoing, std::span<const at::Tensor> incoming) override {
      const std::lock_guard lock(all_.mutex_);
      for (std::size_t to = 0; to < outgoing.size(); ++to)
        if (outgoing[to].defined()) {
          all_.mail_[{rank_, static_cast<int>(to)}].push_back(outgoing[to].clone());
          ++all_.sent_;
        }
      waits_ = {incoming.begin(), incoming.end()};
    }

    bool ended() override {
      const std::lock_guard lock(all_.mutex_);
      if (!all_.failure_.empty())
        throw lost(all_.failure_);
      if (all_.frozen_)
        return false;
      bool all_came = true;
      for (std::size_t from = 0; from < waits_.size(); ++from) {
        auto& mail = all_.mail_[{static_cast<int>(from), rank_}];
        if (!waits_[from].defined())
          continue;
        if (mail.empty()) {
          all_came = false;
          continue;
        }
        std::exchange(waits_[from], at::Tensor()).copy_(mail.front());
        mail.pop_front();
      }
      return all_came;
    }

    void abort() override {}

  private:
    devices_in_memory& all_;
    int rank_;
    std::vector<at::Tensor> waits_;
  };

  class own_port : public device_port {
  public:
    own_port(devices_in_memory& all, std::string gpu, std::string library)
        : all_(all), gpu_(std::move(gpu)), library_(std::move(library)) {}

    device_facts facts() const override { return {.device = "memory", .gpu = gpu_, .library = library_}; }

    std::string invitation() const override { return "come in"; }

    std::unique_ptr<device_wire> connect(int rank, int, const std::string& invitation) const override {
      if (invitation != this->invitation())
        throw lost("not invited");
      return std::make_unique<own_wire>(all_, rank);
    }

  private:
    devices_in_memory& all_;
    std::string gpu_, library_;
  };

  mutable std::mutex mutex_;
  std::map<std::pair<int, int>, std::deque<at::Tensor>> mail_; ///< by sender and receiver
  std::size_t sent_ = 0;
  bool frozen_ = false;
  std::string failure_;
};

} // namespace millrace::collective::testing
