#include "runtime/train/whole_parameters.hpp"

#include "kernels/system_memory.hpp"
#include "runtime/train/memory_shortage.hpp"
#include "runtime/train/sharded_parameters.hpp"
#include "runtime/train/trainable.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <atomic>
#include <utility>

namespace millrace::train {
namespace {

using collective::parcel;
using tensors = std::vector<at::Tensor>;

/// A task adds to it once a token, and for a head that shares it.
constexpr std::string_view table_name = "model.embed_tokens.weight";

} // namespace

whole_parameters::whole_parameters(model::weights leaves, const team_place& place, model::rounded_weights* rounded,
                                   int passes)
    : leaves_(std::move(leaves)), place_(place), layout_(leaves_), beside_(static_cast<std::size_t>(passes - 1)) {
  for (auto& pass : beside_) {
    for (const auto& [name, leaf] : leaves_)
      pass.leaves.push_back({name, leaf.detach().requires_grad_()});
  }
  for (std::size_t p = 0; p < leaves_.size(); ++p) {
    const at::Tensor leaf = leaves_[p].tensor;
    if (leaves_[p].name == table_name)
      tables_.push_back(leaf);
    if (!rounded)
      continue;
    rounded->set(leaf, rounded_.emplace_back(at::empty_like(leaf.detach(), at::kBFloat16)));
    for (const auto& pass : beside_)
      rounded->set(pass.leaves[p].tensor, rounded_.back());
  }
  whole_parameters::changed();
}

flat_range whole_parameters::own_share() const {
  return flat_layout::share(layout_.whole(), place_.rank, place_.size);
}

std::vector<parameter_piece> whole_parameters::pieces(int rank) const {
  return layout_.pieces(place_.shard == sharding::none ? layout_.whole()
                                                       : flat_layout::share(layout_.whole(), rank, place_.size));
}

std::vector<updated_piece> whole_parameters::updates() const {
  std::vector<updated_piece> found;
  for (const auto& piece : pieces(place_.rank)) {
    const at::Tensor& leaf = leaves_[piece.parameter].tensor;
    found.push_back({piece, piece.of(leaf.detach()), leaf.grad().defined() ? piece.of(leaf.grad()) : at::Tensor()});
  }
  return found;
}

// -- a sum ------------------------------------------------------------------------------------------------------------

/// Alone, a rank sums gradients where they are, from the first task that goes back. With others, whatever is in the
/// buffer is gone or, where gradients are to be added to it, this rank's share of the sum.
void whole_parameters::begin(purpose what) {
  row_sums_.clear(); // of a task that was stopped
  if (!ranks_) {
    if (what == purpose::first)
      rest();
    return;
  }
  if (what != purpose::first && what != purpose::more)
    return;
  sum_ = what == purpose::first ? at::Tensor()
                                : own_share().of(sum_here_.numbers).to(ranks_->device(), at::kFloat, false, true);
  rest();
  prepare(sum_here_, leaves_);
}

/// Only now do gradients take memory: what the next version is laid out in may be free by then.
bool whole_parameters::goes_back(bool loss_is_finite, const at::Tensor& fed, std::size_t pass) {
  auto& sum = pass > 0 ? beside_[pass - 1].gradients : sum_here_;
  if (loss_is_finite)
    prepare(sum, leaves_of(pass));
  if (pass > 0) {
    sum.zeros = sum.zeros && !loss_is_finite;
    return loss_is_finite;
  }
  if (loss_is_finite && !ranks_ && !sum_here_.zeros && !tables_.empty())
    set_rows_apart(fed);
  sum_here_.zeros = sum_here_.zeros && !loss_is_finite;
  return loss_is_finite;
}

/// A backward pass adds to most gradients once, so they are summed where they are. To the rows of tables that it was
/// fed it adds several times: meanwhile their sum stands apart, or it would depend on how often a task adds.
void whole_parameters::set_rows_apart(const at::Tensor& fed) {
  const at::NoGradGuard no_grad;
  rows_apart_ = std::get<0>(at::_unique(fed)).to(sum_here_.numbers.device());
  for (const auto& table : tables_) {
    at::Tensor gradient = table.grad();
    row_sums_.push_back(gradient.index_select(0, rows_apart_));
    gradient.index_fill_(0, rows_apart_, 0);
  }
}

void whole_parameters::put_rows_back() {
  for (std::size_t i = 0; i < row_sums_.size(); ++i) {
    at::Tensor gradient = tables_[i].grad();
    gradient.index_copy_(0, rows_apart_, row_sums_[i].add_(gradient.index_select(0, rows_apart_)));
  }
  row_sums_.clear();
  rows_apart_.reset();
}

/// What passes compute in a round, with the parameters that it is for.
void whole_parameters::compute_round(const task_round& now, const std::function<void()>& passes) {
  begin(now.what);
  if (now.from_start)
    swap_start();
  passes();
  if (now.from_start)
    swap_start();
  put_rows_back();
}

parcel whole_parameters::work(const task_round& now, const parcel* task, const compute& own) {
  const at::NoGradGuard no_grad;
  parcel result;
  compute_round(now, [&] {
    const at::AutoGradMode with_gradients(true);
    if (task)
      result = own(*task, 0);
  });
  if (ranks_ && now.what != purpose::none)
    add_up(now);
  return result;
}

/// The first pass adds to the sum itself. The others' gradients are added behind it, in the order of tasks.
std::vector<parcel> whole_parameters::work_at_once(const task_round& now, std::span<const parcel> tasks,
                                                   const compute& own, model::pass_threads& threads) {
  const at::NoGradGuard no_grad;
  std::vector<parcel> results(tasks.size());
  compute_round(now, [&] {
    threads.run(tasks.size(), [&](std::size_t pass) {
      const at::AutoGradMode with_gradients(true);
      results[pass] = own(tasks[pass], pass);
    });
  });
  for (auto& [leaves, gradients] : beside_) {
    if (!gradients.zeros) {
      prepare(sum_here_, leaves_); // the first pass may not have gone back
      sum_here_.numbers.add_(gradients.numbers);
      sum_here_.zeros = false;
    }
    let_go(gradients, leaves);
  }
  return results;
}

/// Adds the gradients of one round to this rank's share of the sum.
void whole_parameters::add_up(const task_round& now) {
  const int size = place_.size, me = place_.rank;
  const at::Tensor flat = sum_here_.numbers.to(ranks_->device());
  const auto share = [&](int rank) { return flat_layout::share(layout_.whole(), rank, size).of(flat); };
  tensors outgoing(static_cast<std::size_t>(size)), from(static_cast<std::size_t>(size));
  received_.resize(from.size());
  for (int r = 0; r < size; ++r) {
    const auto at = static_cast<std::size_t>(r);
    if (r != me && now.computes(me))
      outgoing[at] = share(r);
    if (r == me || !now.computes(r))
      continue;
    if (!received_[at].defined())
      received_[at] = at::empty_like(share(me));
    from[at] = received_[at];
  }
  ranks_->exchange(outgoing, from);
  for (const int r : now.ranks) {
    const at::Tensor addend = r == me ? share(me) : from[static_cast<std::size_t>(r)];
    if (sum_.defined())
      sum_.add_(addend);
    else
      sum_ = addend.clone();
  }
  if (!sum_.defined())
    sum_ = at::zeros_like(share(me));
  // Their memory stays: the next round would come to it page by page.
  if (!std::exchange(sum_here_.zeros, true))
    sum_here_.numbers.zero_();
}

/// Puts the sum into the gradients: of all shares, or where updates are shared out this rank's own.
void whole_parameters::end_sum() {
  const at::NoGradGuard no_grad;
  prepare(sum_here_, leaves_); // nobody may have added to it
  if (!ranks_)
    return;
  sum_here_.zeros = false;
  const at::Tensor sum = std::exchange(sum_, at::Tensor());
  received_.clear();
  if (shares_updates()) {
    own_share().of(sum_here_.numbers).copy_(sum);
    return;
  }
  const int size = place_.size;
  tensors outgoing(static_cast<std::size_t>(size)), incoming(static_cast<std::size_t>(size));
  const at::Tensor flat = sum_here_.numbers.to(ranks_->device());
  own_share().of(flat).copy_(sum);
  for (int r = 0; r < size; ++r)
    if (r != place_.rank) {
      outgoing[static_cast<std::size_t>(r)] = sum;
      incoming[static_cast<std::size_t>(r)] = flat_layout::share(layout_.whole(), r, size).of(flat);
    }
  ranks_->exchange(outgoing, incoming);
  if (!flat.is_alias_of(sum_here_.numbers))
    sum_here_.numbers.copy_(flat);
}

std::vector<double> whole_parameters::squares() const {
  return squares_of_blocks(shares_updates() ? own_share().of(sum_here_.numbers) : sum_here_.numbers);
}

double whole_parameters::norm(const std::vector<std::vector<double>>& squares) const {
  std::vector<double> all;
  for (const auto& of_rank : squares)
    all.insert(all.end(), of_rank.begin(), of_rank.end());
  return norm_of(all);
}

void whole_parameters::rest() {
  let_go(sum_here_, leaves_);
  for (auto& pass : beside_)
    let_go(pass.gradients, pass.leaves);
}

/// Passes are about to add to them. Pages that come new from the system are asked for at once.
void whole_parameters::prepare(gradient_sum& of, const model::weights& leaves) const {
  if (of.numbers.defined())
    return;
  const auto options = leaves.empty() ? at::TensorOptions() : leaves.front().tensor.options();
  const auto count = layout_.numbers();
  if (options.device().is_cpu()) {
    const auto bytes = static_cast<std::size_t>(count) * sizeof(float);
    auto [memory, zeros] = kernels::spare_memory::of_process().take(bytes);
    auto* const start = memory.get();
    of.numbers = at::from_blob(
        start, {count}, [memory = std::move(memory)](void*) mutable { memory = nullptr; }, at::kFloat);
    if (zeros)
      kernels::give_pages(start, bytes);
    else
      of.numbers.zero_();
  } else {
    of.numbers = at::zeros({count}, options.dtype(at::kFloat).requires_grad(false));
  }
  for (std::size_t p = 0; p < leaves.size(); ++p) {
    at::Tensor leaf = leaves[p].tensor;
    leaf.mutable_grad() = layout_.place(p).of(of.numbers).view(leaf.sizes());
  }
}

void whole_parameters::let_go(gradient_sum& of, const model::weights& leaves) {
  if (!of.numbers.defined())
    return;
  const bool zeros = std::exchange(of.zeros, true);
  if (!of.numbers.is_cpu()) {
    if (!zeros)
      of.numbers.zero_();
    return;
  }
  of.numbers.reset();
  for (const auto& [name, tensor] : leaves) {
    at::Tensor leaf = tensor;
    leaf.mutable_grad().reset();
  }
}

std::shared_ptr<const model::weights> whole_parameters::lend() {
  if (ranks_ || leaves_.empty() || !leaves_.front().tensor.is_cpu())
    return nullptr;
  model::weights now;
  for (const auto& [name, tensor] : leaves_)
    now.push_back({name, tensor.detach()});
  auto lent = std::make_shared<const model::weights>(std::move(now));
  lent_ = lent;
  return lent;
}

void whole_parameters::about_to_change() {
  if (std::exchange(lent_, {}).expired()) {
    std::atomic_thread_fence(std::memory_order_acquire); // whoever let go has read
    return;
  }
  again_with_memory_given_back(leaves_.front().tensor.device(), "the weights, which rollouts still read", [&] {
    auto apart = copies(leaves_);
    for (std::size_t i = 0; i < leaves_.size(); ++i) {
      leaves_[i].tensor.set_data(apart[i].tensor);
      for (const auto& pass : beside_)
        pass.leaves[i].tensor.set_data(leaves_[i].tensor.detach());
    }
  });
}

/// Where updates are shared out, every rank hands the parameters that it has updated to the others.
void whole_parameters::updated() {
  if (!shares_updates())
    return;
  const at::NoGradGuard no_grad;
  const auto values_of = [&](const parameter_piece& piece) {
    return piece.of(leaves_[piece.parameter].tensor.detach()).reshape({-1});
  };
  const at::TensorOptions options = at::TensorOptions(ranks_->device()).dtype(at::kFloat);
  tensors updated{at::empty({0}, options)}; // a rank may have no share
  for (const auto& piece : own(false))
    updated.push_back(piece.tensor.reshape({-1}).to(options.device()));
  std::vector<std::vector<parameter_piece>> of_ranks;
  std::vector<std::int64_t> lengths;
  for (int r = 0; r < place_.size; ++r) {
    lengths.push_back(0);
    for (const auto& piece : of_ranks.emplace_back(pieces(r)))
      lengths.back() += piece.numbers;
  }
  const auto found = collective::gather(*ranks_, at::cat(updated), lengths);
  for (std::size_t r = 0; r < found.size(); ++r) {
    std::int64_t next = 0;
    if (static_cast<int>(r) != place_.rank)
      for (const auto& piece : of_ranks[r]) {
        values_of(piece).copy_(found[r].narrow(0, next, piece.numbers));
        next += piece.numbers;
      }
  }
}

void whole_parameters::changed() {
  for (std::size_t p = 0; p < rounded_.size(); ++p)
    rounded_[p].copy_(leaves_[p].tensor.detach());
}

// -- whole parameters -------------------------------------------------------------------------------------------------

model::weights whole_parameters::copies(const model::weights& parameters) {
  model::weights out;
  for (const auto& parameter : parameters)
    out.push_back({parameter.name, parameter.tensor.detach().clone()});
  return out;
}

model::weights whole_parameters::whole(bool start) {
  return start && keeps_start() ? start_ : leaves_;
}

model::weights whole_parameters::own(bool start) const {
  const auto& from = start && keeps_start() ? start_ : leaves_;
  model::weights found;
  for (const auto& piece : pieces(place_.rank))
    found.push_back({leaves_[piece.parameter].name, piece.of(from[piece.parameter].tensor.detach())});
  return found;
}

/// Exchanges the leaves' memory and that of the step's start.
void whole_parameters::swap_start() {
  for (std::size_t i = 0; i < start_.size(); ++i) {
    const at::Tensor now = leaves_[i].tensor.detach();
    leaves_[i].tensor.set_data(start_[i].tensor);
    start_[i].tensor = now;
    for (const auto& pass : beside_)
      pass.leaves[i].tensor.set_data(leaves_[i].tensor.detach());
  }
  if (keeps_start())
    changed();
}

model::passes_at_once passes_of(int at_once, int threads, at::Device device, const team_place& place) {
  if (at_once < 2 || !device.is_cpu() || place.size > 1)
    return {.count = 1, .threads = threads};
  return {.count = at_once, .threads = std::max(1, threads / at_once)};
}

std::unique_ptr<held_parameters> hold_whole(model::weights leaves, const team_place& place,
                                            model::rounded_weights* rounded, int passes) {
  return std::make_unique<whole_parameters>(std::move(leaves), place, rounded, passes);
}

std::unique_ptr<held_parameters> hold(const model::weights& parameters, at::Device device, const team_place& place,
                                      model::rounded_weights* rounded, int passes) {
  if (place.shard == sharding::full && place.size > 1)
    return std::make_unique<sharded_parameters>(parameters, device, place, rounded);
  return hold_whole(trainable(parameters, device), place, rounded, passes);
}

} // namespace millrace::train
