#include "runtime/collective/gloo_group.hpp"

#include "runtime/collective/abort_line.hpp"
#include "runtime/collective/exchange.hpp"

#include <ATen/ATen.h>

namespace millrace::collective {
namespace {

using clk = std::chrono::steady_clock;

void check_tensors(std::span<const at::Tensor> tensors, int rank, int size, const std::string& which) {
  if (tensors.size() != static_cast<std::size_t>(size))
    throw std::invalid_argument(which + ": want " + std::to_string(size) + " tensors, one a rank, got "
                                + std::to_string(tensors.size()));
  for (int r = 0; r < size; ++r) {
    const auto& tensor = tensors[static_cast<std::size_t>(r)];
    if (r != rank && tensor.defined() && tensor.numel() > 0 && !(tensor.is_cpu() && tensor.is_contiguous()))
      throw std::invalid_argument(which + "[" + std::to_string(r) + "]: want a contiguous tensor on the CPU, got "
                                  + c10::str(tensor.sizes(), " on ", tensor.device()));
  }
}

class gloo_group : public group {
public:
  gloo_group(int rank, int size, std::chrono::milliseconds within) : rank_(rank), size_(size), within_(within) {}

  /// Connects, and says hello to all. @throws lost
  void connect(const gloo_options& options, std::shared_ptr<rendezvous> words) {
    if (size_ == 1)
      return;
    const auto deadline = clk::now() + options.connect_deadline;
    wire_ = std::make_unique<gloo_wire>(wire_options{.rank = rank_,
                                                     .size = size_,
                                                     .host = options.host,
                                                     .ports = options.ports,
                                                     .key = options.key,
                                                     .deadline = deadline,
                                                     .within = options.connect_deadline},
                                        std::move(words));
    const std::vector<at::Tensor> nothing(static_cast<std::size_t>(size_));
    run("group", nothing, nothing, options.connect_deadline, deadline);
  }

  int rank() const override { return rank_; }

  int size() const override { return size_; }

  void exchange(std::span<const at::Tensor> outgoing, std::span<const at::Tensor> incoming) override {
    check_tensors(outgoing, rank_, size_, "outgoing");
    check_tensors(incoming, rank_, size_, "incoming");
    run("exchange", outgoing, incoming, within_, clk::now() + within_);
  }

  void abort(const std::string& why) override {
    const std::lock_guard lock(mutex_);
    end(why);
    if (now_)
      now_->fail(why);
  }

  std::optional<waiting> waits() const override {
    const std::lock_guard lock(mutex_);
    if (!now_)
      return {};
    return now_->waits();
  }

private:
  void end(const std::string& why) {
    if (!ended_)
      ended_ = why;
  }

  void run(const char* name, std::span<const at::Tensor> outgoing, std::span<const at::Tensor> incoming,
           std::chrono::milliseconds within, clk::time_point deadline) {
    std::unique_ptr<collective::exchange> one;
    {
      const std::lock_guard lock(mutex_);
      if (ended_)
        throw lost(*ended_);
      if (now_)
        throw std::logic_error("an exchange is under way already");
      if (size_ == 1)
        return;
      one = std::make_unique<collective::exchange>(name, *wire_, rank_, outgoing, incoming);
      now_ = one.get();
    }
    std::optional<std::string> failed;
    try {
      one->run(within, deadline);
    } catch (const lost& reason) {
      failed = reason.what();
    }
    const std::lock_guard lock(mutex_);
    now_ = nullptr;
    if (failed) {
      end(*failed);
      throw lost(*ended_);
    }
  }

  const int rank_, size_;
  const std::chrono::milliseconds within_;
  mutable std::mutex mutex_;
  std::unique_ptr<gloo_wire> wire_;
  collective::exchange* now_ = nullptr;
  std::optional<std::string> ended_;
};

} // namespace

std::unique_ptr<group> connect_gloo(const gloo_options& options, std::shared_ptr<rendezvous> words) {
  if (options.size < 1 || options.rank < 0 || options.rank >= options.size)
    throw std::invalid_argument("rank " + std::to_string(options.rank) + " of " + std::to_string(options.size)
                                + ": want 0 to size - 1");
  auto made = std::make_unique<gloo_group>(options.rank, options.size, options.exchange_deadline);
  const abort_line line(*words, *made);
  made->connect(options, words);
  return made;
}

} // namespace millrace::collective
