#include "runtime/train/sharded_parameters.hpp"

#include "runtime/model/decoder.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <stdexcept>
#include <utility>

namespace millrace::train {
namespace {

using collective::parcel;

/// Gives a storage the memory of a tensor, which nothing else uses.
void fill(const c10::Storage& storage, at::Tensor memory) {
  auto* of = storage.unsafeGetStorageImpl();
  void* data = memory.mutable_data_ptr();
  const auto device = memory.device();
  const auto bytes = memory.nbytes();
  of->set_data_ptr_noswap(
      {data, new at::Tensor(std::move(memory)), [](void* kept) { delete static_cast<at::Tensor*>(kept); }, device});
  of->set_nbytes(bytes);
}

void empty(const c10::Storage& storage) {
  auto* of = storage.unsafeGetStorageImpl();
  of->set_data_ptr_noswap(at::DataPtr(nullptr, storage.device()));
  of->set_nbytes(std::size_t{0});
}

} // namespace

sharded_parameters::sharded_parameters(const model::weights& parameters, at::Device device, const team_place& place,
                                       model::rounded_weights* rounded)
    : place_(place), layout_(parameters), computed_in_(rounded ? at::kBFloat16 : at::kFloat) {
  const at::NoGradGuard no_grad;
  options_ = at::TensorOptions(device).dtype(at::kFloat);
  std::int64_t numbers = 0;
  for (const auto& part : layout_.units()) {
    const auto own = flat_layout::share(part.range, place_.rank, place_.size);
    if (part.layer < 0) {
      others_.push_back(units_.size());
    } else {
      of_layer_.resize(std::max(of_layer_.size(), static_cast<std::size_t>(part.layer) + 1));
      of_layer_[static_cast<std::size_t>(part.layer)] = units_.size();
    }
    units_.push_back({.what = part,
                      .own = own,
                      .begin = numbers,
                      .memory = {},
                      .coming = {},
                      .comes = {},
                      .here = false,
                      .gradients = {}});
    numbers += own.numbers;
  }
  model::check_finite(parameters);
  own_ = share_of(parameters);
  sum_ = at::zeros_like(own_);
  make_leaves(parameters, rounded);
}

sharded_parameters::~sharded_parameters() = default;

/// Leaves whose memory is away, and where there are, the rounded ones.
void sharded_parameters::make_leaves(const model::weights& parameters, model::rounded_weights* rounded) {
  for (auto& one : units_) {
    const auto memory = [&](at::ScalarType type) {
      return at::empty({one.what.range.numbers}, options_.dtype(type)).storage();
    };
    const c10::Storage of_leaves = memory(at::kFloat);
    one.memory = rounded ? memory(computed_in_) : of_leaves;
    for (std::size_t p = one.what.first; p < one.what.end(); ++p) {
      const auto over = [&](const c10::Storage& storage, at::ScalarType type) {
        const at::Tensor& like = parameters[p].tensor;
        return at::empty({0}, options_.dtype(type))
            .set_(storage, layout_.place(p).begin - one.what.range.begin, like.sizes(),
                  c10::contiguous_strides(like.sizes()));
      };
      leaves_.push_back({parameters[p].name, over(of_leaves, at::kFloat).requires_grad_()});
      if (rounded)
        rounded->set(leaves_.back().tensor, over(one.memory, computed_in_));
    }
    empty(of_leaves);
    empty(one.memory);
  }
}

/// This rank's shares of whole parameters. [numbers of the shares], on the device
at::Tensor sharded_parameters::share_of(const model::weights& whole) const {
  const at::NoGradGuard no_grad;
  const auto& last = units_.back();
  at::Tensor shares = at::zeros({last.begin + last.own.numbers}, options_);
  for (const auto& one : units_)
    for (const auto& piece : layout_.pieces(one.own))
      piece_of(one, piece, shares).copy_(piece.of(whole[piece.parameter].tensor.detach().contiguous()).view(-1));
  return shares;
}

/// The part of a rank's shares that belongs to a unit.
at::Tensor sharded_parameters::shares_of(const unit& one, const at::Tensor& shares) const {
  return shares.narrow(0, one.begin, one.own.numbers);
}

/// The share of a rank, counted from the unit's first number.
flat_range sharded_parameters::part_of(const unit& one, int rank) const {
  return flat_layout::share({0, one.what.range.numbers}, rank, place_.size);
}

/// @param numbers of the whole unit @returns the part that is a parameter, of its shape
at::Tensor sharded_parameters::parameter_in(const unit& one, std::size_t parameter, const at::Tensor& numbers) const {
  const auto& place = layout_.place(parameter);
  return numbers.narrow(0, place.begin - one.what.range.begin, place.numbers).view(leaves_[parameter].tensor.sizes());
}

/// @returns [numbers of the piece]
at::Tensor sharded_parameters::piece_of(const unit& one, const parameter_piece& piece, const at::Tensor& shares) const {
  const auto at = one.begin + layout_.place(piece.parameter).begin + piece.begin - one.own.begin;
  return shares.narrow(0, at, piece.numbers);
}

std::vector<parameter_piece> sharded_parameters::pieces(int rank) const {
  std::vector<parameter_piece> found;
  for (const auto& one : units_)
    for (const auto& piece : layout_.pieces(flat_layout::share(one.what.range, rank, place_.size)))
      found.push_back(piece);
  return found;
}

std::vector<updated_piece> sharded_parameters::updates() const {
  std::vector<updated_piece> found;
  for (const auto& one : units_)
    for (const auto& piece : layout_.pieces(one.own)) {
      const at::Tensor& leaf = leaves_[piece.parameter].tensor;
      const auto of = [&](const at::Tensor& shares) {
        const at::Tensor numbers = piece_of(one, piece, shares);
        return piece.numbers == leaf.numel() ? numbers.view(leaf.sizes()) : numbers;
      };
      found.push_back({piece, of(own_), of(sum_)});
    }
  return found;
}

// -- parameters that come and go --------------------------------------------------------------------------------------

void sharded_parameters::join(std::shared_ptr<collective::group> ranks) {
  line_.reset();
  forget_round();
  if (ranks)
    line_ = std::make_unique<collective::exchange_line>(std::move(ranks));
}

/// Memory without values for a unit or a share of one. Allocated anew for each block, it would lie in pieces all over
/// the heap.
at::Tensor sharded_parameters::buffer(std::int64_t numbers, const at::TensorOptions& options) {
  for (const auto& known : buffers_)
    if (known.numel() == numbers && known.device() == options.device() && known.dtype() == options.dtype()
        && known.use_count() == 1 && known.storage().use_count() == 1)
      return known;
  return buffers_.emplace_back(at::empty({numbers}, options));
}

/// Asks the other ranks for their shares of a unit, unless it is here or on its way.
void sharded_parameters::bring(unit& one) {
  if (one.here || one.comes.valid())
    return;
  const at::NoGradGuard no_grad;
  one.coming = buffer(one.what.range.numbers, options_.device(line_->ranks().device()).dtype(computed_in_));
  const at::Tensor own = part_of(one, place_.rank).of(one.coming);
  own.copy_(shares_of(one, now_.from_start ? start_ : own_));
  auto outgoing = for_each_rank(), incoming = for_each_rank();
  for (int r = 0; r < place_.size; ++r)
    if (r != place_.rank) {
      outgoing[static_cast<std::size_t>(r)] = own;
      incoming[static_cast<std::size_t>(r)] = part_of(one, r).of(one.coming);
    }
  one.comes = line_->post(std::move(outgoing), std::move(incoming));
}

/// Waits until a unit is here.
void sharded_parameters::have(unit& one) {
  if (one.here)
    return;
  bring(one);
  one.comes.get();
  fill(one.memory, one.coming.to(options_.device()));
  one.comes = {};
  one.coming.reset();
  one.here = true;
}

void sharded_parameters::let_go(unit& one) {
  empty(one.memory);
  one.here = false;
}

void sharded_parameters::forward_begins(std::int64_t layer) {
  have(of_layer(layer));
  if (layer + 1 < layers())
    bring(of_layer(layer + 1));
  ++passed_;
}

/// The way back begins with the last block.
void sharded_parameters::forward_ends(std::int64_t layer) {
  if (now_.what == purpose::none || layer + 1 < layers())
    let_go(of_layer(layer));
  ++passed_;
}

void sharded_parameters::backward_begins(std::int64_t layer) {
  have(of_layer(layer));
  if (layer > 0)
    bring(of_layer(layer - 1));
  begin_gradients(of_layer(layer));
  ++passed_;
}

void sharded_parameters::backward_ends(std::int64_t layer) {
  deliver(of_layer(layer));
  let_go(of_layer(layer));
  ++passed_;
}

// -- gradients --------------------------------------------------------------------------------------------------------

/// The gradients of a unit's leaves are zeros; none where this rank has no task.
void sharded_parameters::begin_gradients(unit& one) {
  if (!computes())
    return;
  one.gradients = buffer(one.what.range.numbers, options_).zero_();
  for (std::size_t p = one.what.first; p < one.what.end(); ++p)
    leaves_[p].tensor.mutable_grad() = parameter_in(one, p, one.gradients);
}

/// Sends the gradients of a unit to the ranks that keep them.
void sharded_parameters::deliver(unit& one) {
  take_delivery();
  const at::NoGradGuard no_grad;
  for (std::size_t p = one.what.first; p < one.what.end(); ++p)
    leaves_[p].tensor.mutable_grad().reset();
  const at::Device travels_on = line_->ranks().device();
  const at::Tensor gradients = one.gradients.defined() ? one.gradients.to(travels_on) : at::Tensor();
  auto outgoing = for_each_rank(), incoming = for_each_rank();
  delivery sent{.to = &one, .incoming = for_each_rank(), .done = {}};
  for (int r = 0; r < place_.size; ++r) {
    const auto to = static_cast<std::size_t>(r);
    at::Tensor& arrives = sent.incoming[to];
    if (computes())
      (r == place_.rank ? arrives : outgoing[to]) = part_of(one, r).of(gradients);
    if (r != place_.rank && now_.computes(r))
      incoming[to] = arrives = buffer(one.own.numbers, options_.device(travels_on));
  }
  sent.done = line_->post(std::move(outgoing), std::move(incoming));
  on_the_way_ = std::move(sent);
  one.gradients.reset();
}

/// Adds the gradients on their way to the sum, in the order of the round's tasks.
void sharded_parameters::take_delivery() {
  if (!on_the_way_)
    return;
  const at::NoGradGuard no_grad;
  const auto one = *std::exchange(on_the_way_, {});
  one.done.get();
  at::Tensor sum = shares_of(*one.to, sum_);
  for (const int r : now_.ranks)
    sum.add_(one.incoming[static_cast<std::size_t>(r)].to(options_.device()));
}

double sharded_parameters::norm(const std::vector<std::vector<double>>& squares) const {
  std::vector<double> all;
  std::vector<std::size_t> next(squares.size());
  for (const auto& one : units_)
    for (std::size_t r = 0; r < squares.size(); ++r) {
      for (std::int64_t i = 0; i < part_of(one, static_cast<int>(r)).numbers; i += flat_layout::block)
        all.push_back(squares[r].at(next[r]++));
    }
  return norm_of(all);
}

// -- a round ----------------------------------------------------------------------------------------------------------

parcel sharded_parameters::work(const task_round& now, const parcel* task, const compute& own) {
  const at::NoGradGuard no_grad;
  try {
    begin_round(now);
    parcel result;
    if (task) {
      const at::AutoGradMode with_gradients(true);
      result = own(*task, 0);
    }
    go_along(task != nullptr);
    end_round();
    return result;
  } catch (...) {
    forget_round();
    throw;
  }
}

void sharded_parameters::begin_round(const task_round& now) {
  now_ = now;
  passed_ = 0;
  goes_back_.reset();
  if (now.what == purpose::first)
    sum_.zero_();
  for (const auto u : others_)
    bring(units_[u]);
  for (const auto u : others_)
    have(units_[u]);
}

/// As the ranks that have a task do, from where this one is: from the start without a task, from the end where its task
/// is done. Where the task has ended on the way, the other ranks need not go back.
void sharded_parameters::go_along(bool with_task) {
  const std::int64_t forward = 2 * layers();
  while (passed_ < forward)
    passed_ % 2 == 0 ? forward_begins(passed_ / 2) : forward_ends(passed_ / 2);
  if (now_.what == purpose::none || !goes_back(!with_task, {}, 0))
    return;
  while (passed_ < 2 * forward) {
    const std::int64_t layer = layers() - 1 - (passed_ - forward) / 2;
    passed_ % 2 == 0 ? backward_begins(layer) : backward_ends(layer);
  }
}

/// Either all ranks go back, or none. They say it once a round.
bool sharded_parameters::goes_back(bool loss_is_finite, const at::Tensor&, std::size_t) {
  const at::NoGradGuard no_grad;
  if (!goes_back_)
    ask_whether_back(loss_is_finite);
  if (*goes_back_ && passed_ <= 2 * layers()) // else the way back has begun, and blocks have sent what these have
    for (const auto u : others_)
      begin_gradients(units_[u]);
  return *goes_back_;
}

void sharded_parameters::ask_whether_back(bool loss_is_finite) {
  auto outgoing = for_each_rank(), incoming = for_each_rank();
  for (int r = 0; r < place_.size; ++r)
    if (r != place_.rank) {
      outgoing[static_cast<std::size_t>(r)] = at::full({1}, loss_is_finite ? 1 : 0, at::kLong);
      incoming[static_cast<std::size_t>(r)] = at::empty({1}, at::kLong);
    }
  line_->post(outgoing, incoming).get();
  bool all = loss_is_finite;
  for (const auto& other : incoming)
    all = all && (!other.defined() || other.item<std::int64_t>() == 1);
  goes_back_ = all;
}

void sharded_parameters::end_round() {
  if (goes_back_.value_or(false))
    for (const auto u : others_)
      deliver(units_[u]);
  take_delivery();
  forget_round();
}

void sharded_parameters::forget_round() {
  on_the_way_.reset();
  for (auto& one : units_) {
    one.comes = {};
    one.coming.reset();
    one.gradients.reset();
    if (one.here)
      let_go(one);
  }
  for (auto& leaf : leaves_)
    leaf.tensor.mutable_grad().reset();
  now_ = {};
}

// -- whole parameters -------------------------------------------------------------------------------------------------

model::weights sharded_parameters::own(bool start) const {
  const at::Tensor& shares = start && keeps_start() ? start_ : own_;
  model::weights found;
  for (const auto& one : units_)
    for (const auto& piece : layout_.pieces(one.own))
      found.push_back({leaves_[piece.parameter].name, piece_of(one, piece, shares)});
  return found;
}

void sharded_parameters::keep_start() {
  if (!keeps_start())
    start_ = own_.clone();
}

/// One unit after another, so that no rank but the first needs more memory than its shares.
model::weights sharded_parameters::whole(bool start) {
  const at::NoGradGuard no_grad;
  const at::Tensor shares = (start && keeps_start() ? start_ : own_).cpu();
  model::weights found;
  for (const auto& one : units_) {
    auto outgoing = for_each_rank(), incoming = for_each_rank();
    if (place_.rank > 0) {
      outgoing[0] = shares_of(one, shares);
      line_->ranks().exchange(outgoing, incoming);
      continue;
    }
    const at::Tensor all = at::empty({one.what.range.numbers}, at::kFloat);
    part_of(one, 0).of(all).copy_(shares_of(one, shares));
    for (int r = 1; r < place_.size; ++r)
      incoming[static_cast<std::size_t>(r)] = part_of(one, r).of(all);
    line_->ranks().exchange(outgoing, incoming);
    for (std::size_t p = one.what.first; p < one.what.end(); ++p)
      found.push_back({leaves_[p].name, parameter_in(one, p, all)});
  }
  return found;
}

} // namespace millrace::train
