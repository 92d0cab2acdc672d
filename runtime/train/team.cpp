#include "runtime/train/team.hpp"

#include "runtime/train/optimizer_state.hpp"

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

/// One addition a token, and those of a head that shares it.
constexpr std::string_view table_name = "model.embed_tokens.weight";

template <class Word>
std::int64_t number_of(Word word) {
  return static_cast<std::int64_t>(word);
}

} // namespace

team::team(team_seat seat, gradient_buffer& gradients, adamw& optimizer, compute own)
    : seat_(std::move(seat)), gradients_(gradients), optimizer_(optimizer), own_(std::move(own)) {
  for (const auto& parameter : optimizer_.parameters())
    if (parameter.name == table_name)
      tables_.push_back(parameter.tensor);
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
  return run_here(tasks, purpose::none, stop);
}

team::outcome team::run(std::span<const parcel> tasks, purpose what, const std::function<bool()>& stop) {
  const auto ranks = present();
  if (!ranks)
    return run_here(tasks, what, stop);
  try {
    return run_with(*ranks, tasks, what, stop);
  } catch (const collective::lost& why) {
    lose_group(why.what());
    throw;
  } catch (const std::exception& failure) {
    ranks->abort(failure.what()); // the others wait for what does not come
    lost_ = std::exchange(group_, nullptr);
    throw;
  }
}

/// A backward pass adds to most gradients once, so they are summed where they are. To those of tables it adds several
/// times: between two tasks their sum stands apart, or it would depend on how often a task adds.
team::outcome team::run_here(std::span<const parcel> tasks, purpose what, const std::function<bool()>& stop) {
  const at::NoGradGuard no_grad;
  if (what == purpose::first)
    gradients_.clear();
  outcome out;
  tensors sums(tables_.size());
  const auto add_up = [&](std::size_t i) {
    const at::Tensor gradient = tables_[i].grad();
    if (sums[i].defined())
      sums[i].add_(gradient);
    else
      sums[i] = gradient.clone();
    return gradient;
  };
  for (const auto& task : tasks) {
    if (stop()) {
      out.stopped = true;
      return out;
    }
    if (what == purpose::more || (what == purpose::first && !out.results.empty()))
      for (std::size_t i = 0; i < tables_.size(); ++i)
        add_up(i).zero_();
    {
      const at::AutoGradMode with_gradients(true);
      out.results.push_back(own_(task));
    }
    if (!is_finite(out.results.back()))
      return out;
  }
  for (std::size_t i = 0; i < tables_.size(); ++i)
    if (sums[i].defined())
      add_up(i).copy_(sums[i]);
  if (what != purpose::none)
    norm_ = norm_of(gradients_.squares(0, 1));
  return out;
}

team::outcome team::run_with(group& ranks, std::span<const parcel> tasks, purpose what,
                             const std::function<bool()>& stop) {
  const auto size = static_cast<std::size_t>(ranks.size());
  outcome out{.results = {}, .stopped = false, .ranks = ranks.size()};
  for (std::size_t next = 0; next == 0 || next < tasks.size(); next += size) {
    if (stop()) {
      out.stopped = true;
      return out;
    }
    const auto round = tasks.subspan(next, std::min(size, tasks.size() - next));
    const auto now = next == 0 || what == purpose::none ? what : purpose::goes_on;
    deal_out(ranks, round, now);
    begin_sum(ranks, now);
    std::vector<parcel> results(1);
    if (!round.empty())
      results[0] = own_(round.front());
    if (what != purpose::none)
      add_up(ranks, static_cast<int>(round.size()));
    for (auto& other : collective::collect(ranks))
      results.push_back(std::move(other));
    for (std::size_t i = 0; i < round.size(); ++i) {
      out.results.push_back(std::move(results[i]));
      if (!is_finite(out.results.back()))
        return out;
    }
  }
  if (what != purpose::none)
    end_sum(ranks);
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

/// The sum is where the update needs it: of all numbers on every rank, or of each rank's share on that rank.
void team::end_sum(group& ranks) {
  collective::hand_to_all(
      ranks, {.words = {number_of(sharded() ? command::keep : command::share)}, .numbers = {}, .tensors = {}});
  if (sharded()) {
    keep_share(ranks);
    auto squares = gradients_.squares(0, ranks.size());
    for (const auto& other : collective::collect(ranks))
      squares.insert(squares.end(), other.numbers.begin(), other.numbers.end());
    norm_ = norm_of(squares);
  } else {
    share_sums(ranks);
    norm_ = norm_of(gradients_.squares(0, 1));
  }
}

double team::apply(double scale, std::int64_t course) {
  ++changes_; // of the others too, if only some of them hear of it
  if (group_)
    try {
      collective::hand_to_all(*group_,
                              {.words = {number_of(command::apply), course}, .numbers = {scale}, .tensors = {}});
    } catch (const collective::lost& why) { // without shares the whole sum is here: whoever comes next gets this state
      lose_group(why.what());
    }
  const double rate = optimizer_.step(scale, course);
  if (group_ && sharded())
    try {
      exchange_parameters(*group_);
    } catch (const collective::lost& why) {
      lose_group(why.what());
    }
  return rate;
}

model::weights team::moments() {
  auto first = optimizer_.first_moments(), second = optimizer_.second_moments();
  if (sharded()) {
    const auto ranks = present();
    std::vector<std::vector<at::Tensor>> pieces(2 * optimizer_.parameters().size());
    const auto put = [&](const std::vector<parameter_piece>& places, std::span<const at::Tensor> tensors) {
      for (std::size_t i = 0; i < places.size(); ++i) {
        pieces[2 * places[i].parameter].push_back(tensors[i].reshape({-1}).cpu());
        pieces[2 * places[i].parameter + 1].push_back(tensors[places.size() + i].reshape({-1}).cpu());
      }
    };
    auto own = first;
    own.insert(own.end(), second.begin(), second.end());
    put(optimizer_.pieces(), own);
    try {
      collective::hand_to_all(*ranks, {.words = {number_of(command::moments)}, .numbers = {}, .tensors = {}});
      int rank = 0;
      for (const auto& other : collective::collect(*ranks))
        put(gradients_.pieces(++rank, ranks->size()), other.tensors);
    } catch (const collective::lost& why) {
      lose_group(why.what());
      throw;
    }
    first.clear();
    second.clear();
    for (std::size_t p = 0; p < optimizer_.parameters().size(); ++p) {
      const auto shape = optimizer_.parameters()[p].tensor.sizes();
      first.push_back(at::cat(pieces[2 * p]).view(shape));
      second.push_back(at::cat(pieces[2 * p + 1]).view(shape));
    }
  }
  return named_moments(optimizer_.parameters(), first, second);
}

/// @throws std::runtime_error where nobody has what the lost rank kept
void team::lose_group(const std::string& why) {
  lost_ = std::exchange(group_, nullptr);
  if (sharded() && changes_ > 0)
    throw std::runtime_error(why
                             + ", and nobody else has its share of the optimizer's moments (shard = \"optimizer\"); "
                               "`millrace resume` goes on from the last checkpoint");
}

/// The group at work; nullptr in a team of one.
std::shared_ptr<group> team::present() {
  if (!seat_.others)
    return nullptr;
  while (!group_) {
    auto next = seat_.others->group_after(lost_.get());
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
  if (sharded())
    throw std::runtime_error("a rank that has just come has none of the optimizer's moments (shard = \"optimizer\"); "
                             "`millrace resume` goes on from the last checkpoint");
  collective::hand_to_all(ranks,
                          {.words = {number_of(command::state), optimizer_.steps()}, .numbers = {}, .tensors = {}});
  exchange_state(ranks);
}

// -- every rank -------------------------------------------------------------------------------------------------------

/// Parameters and moments, from the first rank to the others.
void team::exchange_state(group& ranks) {
  const at::NoGradGuard no_grad;
  tensors state;
  for (const auto& parameter : optimizer_.parameters())
    state.push_back(parameter.tensor.detach());
  for (const auto* moments : {&optimizer_.first_moments(), &optimizer_.second_moments()})
    state.insert(state.end(), moments->begin(), moments->end());
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
void team::begin_sum(const group& ranks, purpose what) {
  if (what != purpose::first && what != purpose::more)
    return;
  sum_ = what == purpose::first
             ? at::Tensor()
             : gradients_.share(gradients_.flat(), ranks.rank(), ranks.size()).to(at::kCPU, at::kFloat, false, true);
  gradients_.clear();
}

/// Adds the gradients of one round, those of the first `computed` ranks, to this rank's share of the sum.
void team::add_up(group& ranks, int computed) {
  const at::NoGradGuard no_grad;
  const int size = ranks.size(), me = ranks.rank();
  const at::Tensor flat = gradients_.flat().to(at::kCPU);
  const auto share = [&](int rank) { return gradients_.share(flat, rank, size); };
  auto outgoing = for_each_rank(ranks), from = for_each_rank(ranks);
  for (int r = 0; r < size; ++r)
    if (r != me && me < computed)
      outgoing[static_cast<std::size_t>(r)] = share(r);
  for (int r = 0; r < computed; ++r)
    if (r != me)
      from[static_cast<std::size_t>(r)] = at::empty_like(share(me));
  ranks.exchange(outgoing, from);
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

/// Puts this rank's share of the sum into its place in the gradient buffer.
void team::keep_share(group& ranks) {
  gradients_.share(gradients_.flat(), ranks.rank(), ranks.size()).copy_(sum_);
  sum_ = at::Tensor();
}

/// Every rank hands the parameters that it has updated to the others.
void team::exchange_parameters(group& ranks) {
  const at::NoGradGuard no_grad;
  const auto values_of = [&](const parameter_piece& piece) {
    return piece.of(optimizer_.parameters()[piece.parameter].tensor.detach()).reshape({-1});
  };
  tensors own{at::empty({0}, at::kFloat)}; // a rank may have no share
  for (const auto& piece : optimizer_.pieces())
    own.push_back(values_of(piece).cpu());
  std::vector<std::vector<parameter_piece>> pieces;
  std::vector<std::int64_t> lengths;
  for (int r = 0; r < ranks.size(); ++r) {
    lengths.push_back(0);
    for (const auto& piece : pieces.emplace_back(gradients_.pieces(r, ranks.size())))
      lengths.back() += piece.numbers;
  }
  const auto updated = collective::gather(ranks, at::cat(own), lengths);
  for (std::size_t r = 0; r < updated.size(); ++r) {
    std::int64_t next = 0;
    if (static_cast<int>(r) != ranks.rank())
      for (const auto& piece : pieces[r]) {
        values_of(piece).copy_(updated[r].narrow(0, next, piece.numbers));
        next += piece.numbers;
      }
  }
}

// -- the other ranks --------------------------------------------------------------------------------------------------

void team::follow() {
  std::shared_ptr<group> last;
  while (auto next = seat_.others->group_after(last.get())) {
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
    begin_sum(ranks, what);
    parcel result;
    if (ranks.rank() < computed)
      result = own_(told);
    if (what != purpose::none)
      add_up(ranks, computed);
    collective::hand_in(ranks, result);
    return;
  }
  case command::share:
    share_sums(ranks);
    return;
  case command::keep:
    keep_share(ranks);
    collective::hand_in(ranks, {.words = {}, .numbers = gradients_.squares(ranks.rank(), ranks.size()), .tensors = {}});
    return;
  case command::apply:
    ++changes_;
    optimizer_.step(told.numbers.at(0), told.words.at(1));
    if (sharded())
      exchange_parameters(ranks);
    return;
  case command::moments: {
    parcel own;
    for (const auto* moments : {&optimizer_.first_moments(), &optimizer_.second_moments()})
      for (const auto& moment : *moments)
        own.tensors.push_back(moment.cpu());
    collective::hand_in(ranks, own);
    return;
  }
  case command::state:
    ++changes_;
    exchange_state(ranks);
    optimizer_.set_steps(told.words.at(1));
    return;
  }
}

} // namespace millrace::train
