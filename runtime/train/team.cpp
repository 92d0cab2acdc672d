#include "runtime/train/team.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace millrace::train {
namespace {

using collective::group;
using collective::parcel;
using tensors = std::vector<at::Tensor>;

tensors for_each_rank(const group& ranks) {
  return tensors(static_cast<std::size_t>(ranks.size()));
}

bool is_finite(const parcel& result) {
  return std::isfinite(result.numbers.at(0));
}

template <class Word>
std::int64_t number_of(Word word) {
  return static_cast<std::int64_t>(word);
}

} // namespace

team::team(std::shared_ptr<collective::group_source> others, model::weights parameters, gradient_buffer& gradients,
           adamw& optimizer, compute own)
    : others_(std::move(others)), parameters_(std::move(parameters)), gradients_(gradients), optimizer_(optimizer),
      own_(std::move(own)) {
}

// -- the leader -------------------------------------------------------------------------------------------------------

team::outcome team::sum_gradients(std::span<const parcel> tasks, const std::function<bool()>& stop) {
  return run(tasks, purpose::first, stop);
}

team::outcome team::add_gradients(std::span<const parcel> tasks, const std::function<bool()>& stop) {
  return run(tasks, purpose::more, stop);
}

team::outcome team::compute_all(std::span<const parcel> tasks, const std::function<bool()>& stop) {
  return run(tasks, purpose::none, stop);
}

team::outcome team::compute_here(std::span<const parcel> tasks, const std::function<bool()>& stop) {
  return run_with(nullptr, tasks, purpose::none, stop);
}

team::outcome team::run(std::span<const parcel> tasks, purpose what, const std::function<bool()>& stop) {
  const auto ranks = present();
  try {
    return run_with(ranks.get(), tasks, what, stop);
  } catch (const collective::lost&) {
    lost_ = std::exchange(group_, nullptr);
    throw;
  } catch (const std::exception& failure) {
    if (ranks)
      ranks->abort(failure.what()); // the others wait for what does not come
    lost_ = std::exchange(group_, nullptr);
    throw;
  }
}

team::outcome team::run_with(group* ranks, std::span<const parcel> tasks, purpose what,
                             const std::function<bool()>& stop) {
  const auto size = static_cast<std::size_t>(ranks ? ranks->size() : 1);
  outcome out{.results = {}, .stopped = false, .ranks = static_cast<int>(size)};
  const bool alone = !ranks && what == purpose::first && tasks.size() <= 1; // its gradient is the sum
  if (alone)
    gradients_.clear();
  for (std::size_t next = 0; next == 0 || next < tasks.size(); next += size) {
    if (stop()) {
      out.stopped = true;
      return out;
    }
    const auto round = tasks.subspan(next, std::min(size, tasks.size() - next));
    const auto now = next == 0 || what == purpose::none ? what : purpose::goes_on;
    if (ranks)
      deal_out(*ranks, round, now);
    if (!alone)
      begin_sum(ranks, now);
    std::vector<parcel> results(std::max(size, round.size()));
    if (!round.empty())
      results[0] = own_(round.front());
    if (!alone && what != purpose::none)
      add_up(ranks, static_cast<int>(round.size()));
    if (ranks) {
      auto others = collective::collect(*ranks);
      std::move(others.begin(), others.end(), results.begin() + 1);
    }
    for (std::size_t i = 0; i < round.size(); ++i) {
      out.results.push_back(std::move(results[i]));
      if (!is_finite(out.results.back()))
        return out;
    }
  }
  if (ranks && what != purpose::none) {
    const parcel order{.words = {number_of(command::share)}, .numbers = {}, .tensors = {}};
    collective::hand_out(*ranks, std::vector<parcel>(size - 1, order));
    share_sums(*ranks);
  } else if (!alone && what != purpose::none) {
    gradients_.flat().copy_(sum_);
  }
  sum_ = at::Tensor();
  return out;
}

/// One task a rank; ranks beyond the round's tasks hear what the round is for.
void team::deal_out(group& ranks, std::span<const parcel> round, purpose what) {
  std::vector<parcel> orders(static_cast<std::size_t>(ranks.size() - 1));
  for (std::size_t r = 0; r < orders.size(); ++r) {
    if (r + 1 < round.size())
      orders[r] = round[r + 1];
    auto& words = orders[r].words;
    words.insert(words.begin(), {number_of(command::compute), number_of(round.size()), number_of(what)});
  }
  collective::hand_out(ranks, orders);
}

double team::apply(double scale, std::int64_t course) {
  if (group_)
    try {
      const parcel order{.words = {number_of(command::apply), course}, .numbers = {scale}, .tensors = {}};
      collective::hand_out(*group_, std::vector<parcel>(static_cast<std::size_t>(group_->size() - 1), order));
    } catch (const collective::lost&) { // the sum is here: whoever comes next gets this rank's state
      lost_ = std::exchange(group_, nullptr);
    }
  ++changes_;
  return optimizer_.step(scale, course);
}

/// The group at work; nullptr in a team of one.
std::shared_ptr<group> team::present() {
  if (!others_)
    return nullptr;
  while (!group_) {
    auto next = others_->group_after(lost_.get());
    if (!next)
      throw std::runtime_error("the learner ends");
    try {
      agree(*next);
      group_ = std::move(next);
    } catch (const collective::lost&) {
      lost_ = std::move(next);
    }
  }
  return group_;
}

/// Ranks that have just loaded the same files are alike. Otherwise the leader's state is everyone's.
void team::agree(group& ranks) {
  bool alike = changes_ == 0;
  for (const auto& hello : collective::collect(ranks))
    alike = alike && hello.words.at(0) == 0;
  if (alike)
    return;
  const parcel order{.words = {number_of(command::state), optimizer_.steps()}, .numbers = {}, .tensors = {}};
  collective::hand_out(ranks, std::vector<parcel>(static_cast<std::size_t>(ranks.size() - 1), order));
  exchange_state(ranks);
}

// -- every rank -------------------------------------------------------------------------------------------------------

/// Parameters and moments, from the first rank to the others.
void team::exchange_state(group& ranks) {
  const at::NoGradGuard no_grad;
  tensors state;
  for (const auto& parameter : parameters_)
    state.push_back(parameter.tensor.detach());
  for (const auto& moment : optimizer_.moments())
    state.push_back(moment.tensor);
  for (const auto& tensor : state) {
    at::Tensor here = tensor.to(at::kCPU).contiguous();
    auto outgoing = for_each_rank(ranks), incoming = for_each_rank(ranks);
    if (ranks.rank() == 0) {
      std::fill(outgoing.begin() + 1, outgoing.end(), here);
    } else {
      if (here.is_alias_of(tensor))
        here = here.clone();
      incoming[0] = here;
    }
    ranks.exchange(outgoing, incoming);
    if (ranks.rank() != 0)
      tensor.copy_(here);
  }
}

/// Whatever is in the gradient buffer is gone or, where gradients are to be added to it, this rank's share of the sum.
void team::begin_sum(group* ranks, purpose what) {
  if (what == purpose::more) {
    const int size = ranks ? ranks->size() : 1, me = ranks ? ranks->rank() : 0;
    sum_ = gradients_.share(gradients_.flat(), me, size).to(at::kCPU, at::kFloat, false, true);
  } else if (what == purpose::first) {
    sum_ = at::Tensor();
  }
  if (what == purpose::first || what == purpose::more)
    gradients_.clear();
}

/// Adds the gradients of one round, those of the first `computed` ranks, to this rank's share of the sum.
void team::add_up(group* ranks, int computed) {
  const at::NoGradGuard no_grad;
  const int size = ranks ? ranks->size() : 1, me = ranks ? ranks->rank() : 0;
  const at::Tensor flat = gradients_.flat().to(at::kCPU);
  const auto share = [&](int rank) { return gradients_.share(flat, rank, size); };
  tensors from(static_cast<std::size_t>(size));
  if (ranks) {
    auto outgoing = for_each_rank(*ranks);
    for (int r = 0; r < size; ++r)
      if (r != me && me < computed)
        outgoing[static_cast<std::size_t>(r)] = share(r);
    for (int r = 0; r < computed; ++r)
      if (r != me)
        from[static_cast<std::size_t>(r)] = at::empty_like(share(me));
    ranks->exchange(outgoing, from);
  }
  if (me < computed)
    from[static_cast<std::size_t>(me)] = share(me);
  for (int r = 0; r < computed; ++r) {
    const auto& addend = from[static_cast<std::size_t>(r)];
    if (sum_.defined())
      sum_.add_(addend);
    else
      sum_ = addend.clone();
  }
  if (!sum_.defined())
    sum_ = at::zeros_like(share(me));
  gradients_.clear();
}

/// Puts the sum of all shares into the gradient buffer.
void team::share_sums(group& ranks) {
  const at::NoGradGuard no_grad;
  auto outgoing = for_each_rank(ranks), incoming = for_each_rank(ranks);
  const at::Tensor flat = gradients_.flat().is_cpu() ? gradients_.flat() : gradients_.flat().cpu();
  for (int r = 0; r < ranks.size(); ++r) {
    const auto at = static_cast<std::size_t>(r);
    if (r == ranks.rank()) {
      gradients_.share(flat, r, ranks.size()).copy_(sum_);
    } else {
      outgoing[at] = sum_;
      incoming[at] = gradients_.share(flat, r, ranks.size());
    }
  }
  ranks.exchange(outgoing, incoming);
  if (!gradients_.flat().is_cpu())
    gradients_.flat().copy_(flat);
  sum_ = at::Tensor();
}

// -- the other ranks --------------------------------------------------------------------------------------------------

void team::follow() {
  std::shared_ptr<group> last;
  while (auto next = others_->group_after(last.get())) {
    last = std::move(next);
    try {
      follow(*last);
    } catch (const collective::lost&) { // whoever forms groups knows why, and makes the next one
    } catch (const std::exception& failure) {
      last->abort(failure.what());
      throw;
    }
  }
}

void team::follow(group& ranks) {
  collective::hand_in(ranks, {.words = {changes_}, .numbers = {}, .tensors = {}});
  for (;;)
    obey(ranks, collective::take(ranks));
}

void team::obey(group& ranks, parcel told) {
  switch (static_cast<command>(told.words.at(0))) {
  case command::compute: {
    const auto computed = static_cast<int>(told.words.at(1));
    const auto what = static_cast<purpose>(told.words.at(2));
    told.words.erase(told.words.begin(), told.words.begin() + 3);
    begin_sum(&ranks, what);
    parcel result;
    if (ranks.rank() < computed)
      result = own_(told);
    if (what != purpose::none)
      add_up(&ranks, computed);
    collective::hand_in(ranks, result);
    return;
  }
  case command::share:
    share_sums(ranks);
    return;
  case command::apply:
    ++changes_;
    optimizer_.step(told.numbers.at(0), told.words.at(1));
    return;
  case command::state:
    ++changes_;
    exchange_state(ranks);
    optimizer_.set_steps(told.words.at(1));
    return;
  }
}

} // namespace millrace::train
