#include "runtime/collective/device_group.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

namespace millrace::collective {
namespace {

using clk = std::chrono::steady_clock;

/// A device tells nobody that its work is done: it is asked. An exchange on devices takes some 20 us at the least.
constexpr std::chrono::microseconds ask_again{20};

std::string names_of_ranks(const std::vector<int>& ranks) {
  std::string names;
  for (std::size_t i = 0; i < ranks.size(); ++i)
    names += (i == 0 ? "rank " : i + 1 == ranks.size() ? " and rank " : ", rank ") + std::to_string(ranks[i]);
  return names;
}

} // namespace

device_group::device_group(std::unique_ptr<group> host, std::chrono::milliseconds within)
    : host_(std::move(host)), within_(within) {
}

device_group::~device_group() = default;

at::Device device_group::device() const {
  return wire_ ? wire_->device() : host_->device();
}

void device_group::connect(const device_port& port, std::chrono::milliseconds within) {
  constexpr std::size_t first = 0;
  const auto ranks = static_cast<std::size_t>(size());
  std::string invitation = rank() == 0 ? port.invitation() : "";
  at::Tensor length = at::full({1}, static_cast<std::int64_t>(invitation.size()), at::kLong);
  const auto from_the_first = [&](const at::Tensor& what) {
    std::vector<at::Tensor> outgoing(ranks), incoming(ranks);
    if (rank() == 0)
      std::fill(outgoing.begin() + 1, outgoing.end(), what);
    else
      incoming[first] = what;
    host_->exchange(outgoing, incoming);
  };
  from_the_first(length);
  invitation.resize(static_cast<std::size_t>(length.item<std::int64_t>())); // of the others
  from_the_first(at::from_blob(invitation.data(), {static_cast<std::int64_t>(invitation.size())}, at::kByte));
  auto wire = port.connect(rank(), size(), invitation);
  std::vector<int> others;
  for (int r = 0; r < size(); ++r)
    if (r != rank())
      others.push_back(r);
  wire_ = std::move(wire);
  wait_for_wire("did not connect its device", std::move(others), within);
}

device_group::two_ways device_group::parted(std::span<const at::Tensor> tensors, const std::string& which) const {
  if (std::cmp_not_equal(tensors.size(), size()))
    throw std::invalid_argument(which + ": want " + std::to_string(size()) + " tensors, one a rank, got "
                                + std::to_string(tensors.size()));
  two_ways found{.direct = std::vector<at::Tensor>(tensors.size()), .over_hosts = {tensors.begin(), tensors.end()}};
  for (std::size_t r = 0; r < tensors.size(); ++r) {
    const auto& tensor = tensors[r];
    if (!tensor.defined() || tensor.device() != device())
      continue;
    found.over_hosts[r] = at::Tensor();
    if (std::cmp_equal(r, rank()) || tensor.numel() == 0)
      continue;
    if (!tensor.is_contiguous())
      throw std::invalid_argument(which + "[" + std::to_string(r) + "]: want a contiguous tensor, got "
                                  + c10::str(tensor.sizes(), " with strides ", tensor.strides()));
    found.direct[r] = tensor;
  }
  return found;
}

void device_group::exchange(std::span<const at::Tensor> outgoing, std::span<const at::Tensor> incoming) {
  const auto sent = parted(outgoing, "outgoing"), received = parted(incoming, "incoming");
  carry(sent.direct, received.direct);
  try {
    host_->exchange(sent.over_hosts, received.over_hosts);
  } catch (const lost& why) {
    abort(why.what());
    throw;
  }
}

/// The part of an exchange that is on devices.
void device_group::carry(std::span<const at::Tensor> outgoing, std::span<const at::Tensor> incoming) {
  std::vector<int> others;
  for (std::size_t r = 0; r < outgoing.size(); ++r)
    if (outgoing[r].defined() || incoming[r].defined())
      others.push_back(static_cast<int>(r));
  if (others.empty())
    return;
  {
    const std::lock_guard lock(mutex_);
    if (ended_)
      throw lost(*ended_);
  }
  try {
    wire_->start(outgoing, incoming);
  } catch (const lost& why) {
    abort(why.what());
  }
  wait_for_wire("did not take part in an exchange on devices", std::move(others), within_);
}

/// Until the wire has nothing to do any more. Every other end is the group's.
void device_group::wait_for_wire(const std::string& what, std::vector<int> on, std::chrono::milliseconds within) {
  const auto start = clk::now();
  const auto why_late = names_of_ranks(on) + " " + what + " within " + std::to_string(within.count()) + " ms";
  std::unique_lock lock(mutex_);
  now_ = waiting{.on = std::move(on), .since_s = std::chrono::duration<double>(start.time_since_epoch()).count()};
  while (!ended_) {
    lock.unlock();
    std::optional<std::string> failed;
    bool done = false;
    try {
      done = wire_->ended();
    } catch (const lost& why) {
      failed = why.what();
    }
    if (!done && !failed && clk::now() - start > within)
      failed = why_late;
    if (failed)
      abort(*failed);
    lock.lock();
    if (done)
      break;
    if (!failed)
      changed_.wait_for(lock, ask_again, [&] { return ended_.has_value(); });
  }
  now_.reset();
  if (!ended_)
    return;
  const auto why = *ended_;
  lock.unlock();
  wire_->abort();
  throw lost(why);
}

void device_group::abort(const std::string& why) {
  {
    const std::lock_guard lock(mutex_);
    if (!ended_)
      ended_ = why;
    changed_.notify_all();
  }
  host_->abort(why);
}

std::optional<group::waiting> device_group::waits() const {
  {
    const std::lock_guard lock(mutex_);
    if (now_)
      return now_;
  }
  return host_->waits();
}

} // namespace millrace::collective
