#include "runtime/train/team.hpp"

#include "runtime/words/enum_words.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <numeric>
#include <set>
#include <stdexcept>

namespace millrace::train {
namespace {

using collective::group;
using collective::parcel;

bool is_finite(const parcel& result) {
  return std::isfinite(result.numbers.at(0));
}

/// The last word of a task's result on its way: whether memory ran out. Then the others are the text of how much was
/// wanted.
enum class task_end : std::int64_t { computed, short_of_memory };

/// Takes that word off. @returns the text; nothing: the task was computed
std::optional<std::string> shortage_in(parcel& result) {
  const auto end = static_cast<task_end>(result.words.back());
  result.words.pop_back();
  return end == task_end::computed ? std::nullopt : std::optional(collective::text_of(result.words));
}

/// The ranks of a round's tasks. @param placed of all tasks; empty: in turn
std::vector<int> ranks_of_round(std::span<const int> placed, std::size_t first, std::size_t tasks) {
  if (!placed.empty())
    return {placed.begin() + static_cast<std::ptrdiff_t>(first),
            placed.begin() + static_cast<std::ptrdiff_t>(first + tasks)};
  std::vector<int> ranks(tasks);
  std::iota(ranks.begin(), ranks.end(), 0);
  return ranks;
}

template <class Word>
std::int64_t number_of(Word word) {
  return static_cast<std::int64_t>(word);
}

} // namespace

team::team(team_seat seat, held_parameters& held, adamw& optimizer, compute own, model::passes_at_once passes)
    : seat_(std::move(seat)), held_(held), optimizer_(optimizer),
      own_([this, within = std::move(own)](const parcel& task, std::size_t pass) {
        return compute_within_memory(within, task, pass);
      }),
      threads_(passes), at_once_(static_cast<std::size_t>(passes.count)) {
}

team::~team() {
  await_own_writing();
}

// -- the leader -------------------------------------------------------------------------------------------------------

/// Work of all ranks, in the group at work. @throws collective::lost the group is gone, and the state is as it was;
/// std::runtime_error as `lose_group`
template <class Work>
auto team::with_group(Work work) {
  const auto ranks = present();
  try {
    return work(*ranks);
  } catch (const collective::lost& why) {
    lose_group(why.what());
    throw;
  }
}

/// @throws memory_ran_out
team::outcome team::checked(outcome of) {
  if (of.wanted)
    throw memory_ran_out(of.results.size(), *of.wanted);
  return of;
}

team::outcome team::sum_gradients(std::span<const parcel> tasks, const std::function<bool()>& stop,
                                  std::span<const int> placed) {
  return run(tasks, {.what = purpose::first}, stop, placed);
}

team::outcome team::add_gradients(std::span<const parcel> tasks, const std::function<bool()>& stop) {
  return run(tasks, {.what = purpose::more}, stop);
}

team::outcome team::compute_all(std::span<const parcel> tasks, const std::function<bool()>& stop) {
  return run(tasks, {.what = purpose::none}, stop);
}

/// Ranks that hold whole parameters do not keep those of the start: the leader alone computes.
team::outcome team::compute_from_start(std::span<const parcel> tasks, const std::function<bool()>& stop) {
  const task_round what{.what = purpose::none, .from_start = true};
  return held_.in_shares() ? run(tasks, what, stop) : checked(run_rounds(nullptr, tasks, what, stop));
}

team::outcome team::run(std::span<const parcel> tasks, task_round what, const std::function<bool()>& stop,
                        std::span<const int> placed) {
  const auto ranks = present();
  if (!ranks)
    return checked(run_rounds(nullptr, tasks, what, stop));
  outcome out;
  try {
    out = run_rounds(ranks.get(), tasks, what, stop, placed);
  } catch (const collective::lost& why) {
    lose_group(why.what());
    throw;
  } catch (const std::exception& failure) {
    ranks->abort(failure.what()); // the others wait for what does not come
    lost_ = std::exchange(group_, nullptr);
    throw;
  }
  return checked(std::move(out));
}

/// @param ranks nullptr: this rank alone
team::outcome team::run_rounds(group* ranks, std::span<const parcel> tasks, task_round what,
                               const std::function<bool()>& stop, std::span<const int> placed) {
  const auto size = ranks ? static_cast<std::size_t>(ranks->size()) : at_once_;
  const auto purpose_of_all = what.what;
  outcome out{.results = {}, .stopped = false, .at_once = static_cast<int>(size)};
  for (std::size_t next = 0; next == 0 || next < tasks.size(); next += size) {
    if (stop()) {
      out.stopped = true;
      return out;
    }
    const auto round = tasks.subspan(next, std::min(size, tasks.size() - next));
    if (next > 0 && purpose_of_all != purpose::none)
      what.what = purpose::goes_on;
    what.ranks = ranks_of_round(placed, next, round.size());
    auto results = work(ranks, what, round);
    for (const int rank : what.ranks) {
      auto& result = results[static_cast<std::size_t>(rank)];
      out.wanted = shortage_in(result);
      if (out.wanted)
        return out;
      out.results.push_back(std::move(result));
      if (!is_finite(out.results.back()))
        return out;
    }
  }
  if (purpose_of_all != purpose::none)
    end_sum(ranks);
  return out;
}

/// One round. @returns what came of each rank's task or, alone, of each pass's
std::vector<parcel> team::work(group* ranks, const task_round& what, std::span<const parcel> round) {
  if (!ranks && threads_.count() > 1)
    return held_.work_at_once(what, round, own_, threads_);
  if (ranks)
    deal_out(*ranks, round, what);
  const auto own = std::ranges::find(what.ranks, 0);
  std::vector<parcel> results;
  results.push_back(held_.work(what, own == what.ranks.end() ? nullptr : &round[own - what.ranks.begin()], own_));
  if (ranks)
    for (auto& other : collective::collect(*ranks))
      results.push_back(std::move(other));
  return results;
}

/// One task a rank; ranks beyond the round's tasks hear what the round is for.
void team::deal_out(group& ranks, std::span<const parcel> round, const task_round& what) {
  std::vector<parcel> orders(static_cast<std::size_t>(ranks.size() - 1));
  for (std::size_t i = 0; i < round.size(); ++i)
    if (const int rank = what.ranks[i]; rank > 0)
      orders[static_cast<std::size_t>(rank) - 1] = round[i];
  std::vector<std::int64_t> head{number_of(command::compute), number_of(what.what), what.from_start ? 1 : 0,
                                 std::ssize(what.ranks)};
  head.insert(head.end(), what.ranks.begin(), what.ranks.end());
  for (auto& order : orders)
    order.words.insert(order.words.begin(), head.begin(), head.end());
  collective::hand_out(ranks, orders);
}

void team::end_sum(group* ranks) {
  if (ranks)
    tell(*ranks, command::end_sum);
  held_.end_sum();
  std::vector<std::vector<double>> squares{held_.squares()};
  if (ranks && shared_out())
    for (auto& other : collective::collect(*ranks))
      squares.push_back(std::move(other.numbers));
  norm_ = held_.norm(squares);
}

double team::apply(double scale, std::int64_t course) {
  ++changes_; // of the others too, if only some of them hear of it
  if (group_)
    try {
      tell(*group_, command::apply, {course}, {scale});
    } catch (const collective::lost& why) { // without shares the whole sum is here: whoever comes next gets this state
      lose_group(why.what());
    }
  await_own_writing();
  held_.about_to_change();
  const double rate = optimizer_.step(scale, course, held_.updates());
  if (group_)
    try {
      held_.updated();
    } catch (const collective::lost& why) {
      lose_group(why.what());
    }
  held_.changed();
  return rate;
}

void team::keep_start() {
  if (held_.in_shares())
    tell_of_start(command::keep_start);
  held_.keep_start();
}

void team::drop_start() {
  if (held_.in_shares() && held_.keeps_start())
    tell_of_start(command::drop_start);
  held_.drop_start();
}

void team::tell_of_start(command what) {
  until_none_is_lost([&] { with_group([&](group& ranks) { tell(ranks, what); }); });
}

model::weights team::parameters(bool start) {
  if (!held_.in_shares())
    return held_.whole(start);
  return until_none_is_lost([&] {
    return with_group([&](group& ranks) {
      tell(ranks, command::parameters, {start ? 1 : 0});
      return held_.whole(start);
    });
  });
}

std::vector<parcel> team::send_on_errand(const parcel& order) {
  return until_none_is_lost([&] {
    return with_group([&](group& ranks) {
      tell(ranks, command::errand, order.words, order.numbers);
      return collective::collect(ranks);
    });
  });
}

/// The rank that keeps each group; of several the first one.
std::map<std::uint64_t, int> team::keepers_of(group& ranks, const std::vector<std::int64_t>& groups) {
  tell(ranks, command::find_groups, groups);
  std::map<std::uint64_t, int> keepers;
  int rank = 0;
  const auto take = [&](const std::vector<std::int64_t>& kept) {
    for (const auto id : kept)
      keepers.try_emplace(static_cast<std::uint64_t>(id), rank);
    ++rank;
  };
  take(kept_of(groups));
  for (const auto& found : collective::collect(ranks))
    take(found.words);
  return keepers;
}

std::vector<int> team::hand_round(std::span<const std::vector<piece_name>> of_tasks) {
  if (!seat_.others)
    return {};
  std::set<std::int64_t> groups;
  for (const auto& pieces : of_tasks)
    for (const auto& piece : pieces)
      groups.insert(static_cast<std::int64_t>(piece.group));
  return with_group([&](group& ranks) {
    const auto keepers = keepers_of(ranks, {groups.begin(), groups.end()});
    const auto placed = places_of(of_tasks, keepers, ranks.size());
    const auto moves = moves_to(of_tasks, placed, keepers);
    tell(ranks, command::move_pieces, words_of(moves));
    move_pieces(ranks, moves);
    return placed;
  });
}

/// @throws std::runtime_error where nobody has what the lost rank kept
void team::lose_group(const std::string& why) {
  held_.join(nullptr);
  lost_ = std::exchange(group_, nullptr);
  if (shared_out() && changes_ > 0)
    cannot_go_on(why + ", and nobody else has its share of the ");
}

/// @param why ends before what is shared out
void team::cannot_go_on(const std::string& why) const {
  throw std::runtime_error(why + (seat_.place.shard == sharding::full ? "parameters" : "optimizer's moments")
                           + " (shard = \"" + word(seat_.place.shard)
                           + "\"); `millrace resume` goes on from the last checkpoint");
}

/// The group at work; nullptr in a team of one.
std::shared_ptr<group> team::present() {
  if (!seat_.others)
    return nullptr;
  while (!group_) {
    auto next = seat_.others->group_after(std::exchange(lost_, nullptr));
    if (!next)
      throw std::runtime_error("the learner ends");
    try {
      agree(*next);
      group_ = std::move(next);
      held_.join(group_);
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
  if (alike) {
    if (held_.in_shares() && held_.keeps_start()) // of the parameters as they are: a rank that comes now has none
      tell(ranks, command::keep_start);
    return;
  }
  if (shared_out())
    cannot_go_on("a rank that has just come has none of the ");
  tell(ranks, command::state, {optimizer_.steps()});
  exchange_state(ranks);
}

void team::tell(group& ranks, command what, std::vector<std::int64_t> words, std::vector<double> numbers) {
  words.insert(words.begin(), number_of(what));
  collective::hand_to_all(ranks, {.words = std::move(words), .numbers = std::move(numbers), .tensors = {}});
}

// -- every rank -------------------------------------------------------------------------------------------------------

std::vector<std::int64_t> team::kept_of(std::span<const std::int64_t> groups) const {
  std::vector<std::int64_t> kept;
  std::ranges::copy_if(groups, std::back_inserter(kept),
                       [&](auto id) { return pieces_->keeps(static_cast<std::uint64_t>(id)); });
  return kept;
}

void team::move_pieces(group& ranks, std::span<const piece_move> moves) {
  pieces_->take(collective::hand_around(ranks, pieces_->outgoing(moves, ranks.rank(), ranks.size())));
}

/// Parameters and moments, from the first rank to the others.
void team::exchange_state(group& ranks) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> state;
  for (const auto& parameter : optimizer_.parameters())
    state.push_back(parameter.tensor.detach());
  for (const auto* moments : {&optimizer_.first_moments(), &optimizer_.second_moments()})
    state.insert(state.end(), moments->begin(), moments->end());
  const auto size = static_cast<std::size_t>(ranks.size());
  for (const auto& tensor : state) {
    at::Tensor here = tensor.to(ranks.device()).contiguous();
    std::vector<at::Tensor> outgoing(size), incoming(size);
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
  held_.changed();
}

/// What `own` returns, or how much memory it wanted: `shortage_in` tells.
parcel team::compute_within_memory(const compute& own, const parcel& task, std::size_t pass) const {
  std::optional<std::string> wanted;
  try {
    auto result = own(task, pass);
    result.words.push_back(number_of(task_end::computed));
    return result;
  } catch (const std::exception& failure) {
    wanted = memory_wanted(failure);
    if (!wanted)
      throw;
  }
  give_memory_back(held_.leaves().front().tensor.device());
  parcel result{.words = collective::words_of(*wanted), .numbers = {}, .tensors = {}};
  result.words.push_back(number_of(task_end::short_of_memory));
  return result;
}

// -- the other ranks --------------------------------------------------------------------------------------------------

void team::follow() {
  std::shared_ptr<group> last;
  while (auto next = seat_.others->group_after(std::move(last))) {
    last = std::move(next);
    held_.join(last);
    try {
      follow(*last);
    } catch (const collective::lost&) { // whoever forms groups knows why, and makes the next one
      held_.join(nullptr);
    } catch (const std::exception& failure) {
      last->abort(failure.what());
      held_.join(nullptr);
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
    task_round now{.what = static_cast<purpose>(told.words.at(1)), .ranks = {}, .from_start = told.words.at(2) != 0};
    const auto tasks = told.words.begin() + 4, rest = tasks + told.words.at(3);
    now.ranks.assign(tasks, rest);
    told.words.erase(told.words.begin(), rest);
    collective::hand_in(ranks, held_.work(now, now.computes(ranks.rank()) ? &told : nullptr, own_));
    return;
  }
  case command::end_sum:
    held_.end_sum();
    if (shared_out())
      collective::hand_in(ranks, {.words = {}, .numbers = held_.squares(), .tensors = {}});
    return;
  case command::apply:
    ++changes_;
    await_own_writing();
    held_.about_to_change();
    optimizer_.step(told.numbers.at(0), told.words.at(1), held_.updates());
    held_.updated();
    held_.changed();
    return;
  case command::write:
    return begin_own_writing(std::span(told.words).subspan(1));
  case command::end_writing:
    return collective::hand_in(ranks, {.words = collective::words_of(own_failure()), .numbers = {}, .tensors = {}});
  case command::parameters:
    held_.whole(told.words.at(1) != 0);
    return;
  case command::keep_start:
    held_.keep_start();
    return;
  case command::drop_start:
    held_.drop_start();
    return;
  case command::errand:
    told.words.erase(told.words.begin());
    collective::hand_in(ranks, errand_(told));
    return;
  case command::find_groups:
    return collective::hand_in(ranks,
                               {.words = kept_of(std::span(told.words).subspan(1)), .numbers = {}, .tensors = {}});
  case command::move_pieces:
    return move_pieces(ranks, moves_in(std::span(told.words).subspan(1)));
  case command::state:
    ++changes_;
    await_own_writing();
    exchange_state(ranks);
    optimizer_.set_steps(told.words.at(1));
    return;
  }
}

} // namespace millrace::train
