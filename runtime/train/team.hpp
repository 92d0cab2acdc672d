#pragma once

#include "runtime/collective/group_source.hpp"
#include "runtime/train/held_parameters.hpp"
#include "runtime/train/memory_shortage.hpp"
#include "runtime/train/optimizer.hpp"
#include "runtime/train/shared_groups.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace millrace::train {

/// Where a learner sits among its ranks.
struct team_seat {
  team_place place = {};
  std::shared_ptr<collective::group_source> others = {}; ///< nullptr: there are none
};

/// Does work of several ranks again and again until none is lost on the way: each try waits for the next group.
template <class Work>
auto until_none_is_lost(Work work) {
  for (;;)
    try {
      return work();
    } catch (const collective::lost&) {
    }
}

/// The ranks of one learner at work. The first rank leads: it holds the step, cuts it into tasks, deals them out and
/// decides. The others do as they are told, in `follow`. A learner of one process is a team of one.
///
/// A task is a micro-batch: what it takes to compute one gradient. How ranks hold parameters and add up gradients is
/// `held_parameters`'s: the sum is bit for bit the same for any number of ranks.
///
/// Where moments or parameters are shared out, no rank has what another one keeps. So a lost rank ends the training,
/// once parameters have changed since they were loaded. Else, a rank that is lost costs the work of the update under
/// way: `collective::lost` says so, and nothing has changed. The next call works with the ranks that there are then,
/// who get the leader's state.
///
/// A rank over whose task memory runs out ends the round with the others: then the call throws `memory_ran_out`, and
/// the next one works. Not thread-safe.
class team {
public:
  /// Computes a task as `held_parameters::compute` wants it. `numbers[0]` of what it returns is the task's share of the
  /// loss; if that is not finite, no gradient was added.
  using compute = held_parameters::compute;

  /// @param optimizer of what `held` says that the rank updates
  /// @param passes of this process: more than one at once only without other ranks, and as many as `held` has
  team(team_seat seat, held_parameters& held, adamw& optimizer, compute own, model::passes_at_once passes = {});
  ~team();
  team(const team&) = delete;
  team& operator=(const team&) = delete;

  /// What became of tasks.
  struct outcome {
    std::vector<collective::parcel> results; ///< in the order of tasks; ends with the first whose loss is not finite
    bool stopped = false;                    ///< by `stop`
    int at_once = 1;                         ///< tasks that were computed side by side, on ranks or by passes
    std::optional<std::string> wanted;       ///< memory ran out over the task behind `results`, as `memory_ran_out`
  };

  /// Sums up the tasks' gradients; the sum before is gone. Where a loss is not finite or `stop` says so, the sum means
  /// nothing.
  /// @param stop asked before each round of tasks, one task a rank
  /// @param placed the rank of each task, as `hand_round` has it; empty: the ranks take them in turn
  /// @throws collective::lost a rank is gone; the sum means nothing and parameters are as they were; memory_ran_out. So
  /// do the others
  outcome sum_gradients(std::span<const collective::parcel> tasks, const std::function<bool()>& stop,
                        std::span<const int> placed = {});

  /// Adds further tasks' gradients to the sum.
  outcome add_gradients(std::span<const collective::parcel> tasks, const std::function<bool()>& stop);

  /// Computes tasks that have no gradients.
  outcome compute_all(std::span<const collective::parcel> tasks, const std::function<bool()>& stop);

  /// The same with the parameters of the step's start, which are kept.
  outcome compute_from_start(std::span<const collective::parcel> tasks, const std::function<bool()>& stop);

  /// From now on so many passes are computed at once, on as many threads each as ever: the sums stay the same.
  /// @param count at most those of the constructor
  void compute_at_once(int count) { at_once_ = static_cast<std::size_t>(count); }

  /// Of the last sum.
  double gradient_norm() const { return norm_; }

  /// Keeps the parameters as they are, or no longer.
  void keep_start();
  void drop_start();

  /// The parameters. @param start as they were when the step began, if that is kept
  /// @throws std::runtime_error a rank is gone that has a share of them
  model::weights parameters(bool start = false);

  /// What ranks write side by side, each what it has. They all see the folder.
  enum class written : std::int64_t {
    moments,    ///< into `make_optimizer_file`'s file in a folder
    parameters, ///< into the files of the weights in a folder
    start       ///< the parameters of the step's start, into a safetensors file
  };

  struct file {
    written what;
    std::filesystem::path path; ///< of the file, or of the folder, which is there
  };

  /// Begins to write, on a thread of each rank. Gradients may be computed meanwhile; the next update waits until its
  /// rank has written. What was begun before ends first.
  /// @returns the end of this rank's own writing, for any thread to wait for
  /// @throws input_error the files cannot be made; std::runtime_error a rank is gone that has a share
  std::shared_future<std::string> begin_to_write(std::vector<file> files);

  /// Waits until all ranks have written. @throws input_error the first failure of whichever rank, one that is gone too;
  /// std::runtime_error as `parameters`
  void end_writing();

  /// One update with the sum of the gradients, as `adamw::step`, on every rank. @returns the learning rate
  double apply(double scale, std::int64_t course);

  /// What the role of a rank does for the first rank's role, beside training.
  using errand = std::function<collective::parcel(const collective::parcel& order)>;

  /// Before `follow`.
  void on_errand(errand how) { errand_ = std::move(how); }

  /// Has every other rank do its errand. @returns what they give back, in the order of ranks
  /// @throws std::runtime_error a rank is gone that has a share of something
  std::vector<collective::parcel> send_on_errand(const collective::parcel& order);

  /// Where ranks share out groups: what this one has of them. Before anything else.
  void share_groups(group_pieces& pieces) { pieces_ = &pieces; }

  /// Places tasks, and hands every rank the pieces of groups that its tasks are made of and that other ranks keep.
  /// @param of_tasks in the order of tasks @returns the rank of each @throws collective::lost; std::logic_error no rank
  /// keeps a group
  std::vector<int> hand_round(std::span<const std::vector<piece_name>> of_tasks);

  /// Another rank's life: does what the leader says, until there is no group any more. Threads: the caller's.
  void follow();

private:
  enum class command : std::int64_t {
    compute,
    end_sum,
    apply,
    state,
    write,
    end_writing,
    parameters,
    keep_start,
    drop_start,
    errand,
    find_groups,
    move_pieces
  };

  collective::parcel compute_within_memory(const compute& own, const collective::parcel& task, std::size_t pass) const;
  static outcome checked(outcome of);
  outcome run(std::span<const collective::parcel> tasks, task_round what, const std::function<bool()>& stop,
              std::span<const int> placed = {});
  std::vector<collective::parcel> work(collective::group* ranks, const task_round& what,
                                       std::span<const collective::parcel> round);
  outcome run_rounds(collective::group* ranks, std::span<const collective::parcel> tasks, task_round what,
                     const std::function<bool()>& stop, std::span<const int> placed = {});
  void deal_out(collective::group& ranks, std::span<const collective::parcel> round, const task_round& what);
  std::shared_ptr<collective::group> present();
  template <class Work>
  auto with_group(Work work);
  void tell(collective::group& ranks, command what, std::vector<std::int64_t> words = {},
            std::vector<double> numbers = {});
  void tell_of_start(command what);
  void agree(collective::group& ranks);
  void exchange_state(collective::group& ranks);
  void make_room(const file& one) const;
  std::function<void()> writer_of(const file& one) const;
  void begin_own_writing(const std::vector<file>& files);
  void begin_own_writing(std::span<const std::int64_t> told);
  void await_own_writing() const;
  std::string own_failure() const;
  void follow(collective::group& ranks);
  void obey(collective::group& ranks, collective::parcel told);
  void end_sum(collective::group* ranks);

  std::vector<std::int64_t> kept_of(std::span<const std::int64_t> groups) const;
  std::map<std::uint64_t, int> keepers_of(collective::group& ranks, const std::vector<std::int64_t>& groups);
  void move_pieces(collective::group& ranks, std::span<const piece_move> moves);

  /// Whether each rank keeps what no other one has.
  bool shared_out() const { return seat_.others && seat_.place.shard != sharding::none; }

  void lose_group(const std::string& why);
  [[noreturn]] void cannot_go_on(const std::string& why) const;

  team_seat seat_;
  held_parameters& held_;
  adamw& optimizer_;
  compute own_; ///< within memory
  model::pass_threads threads_;
  std::size_t at_once_; ///< passes
  errand errand_;
  group_pieces* pieces_ = nullptr;
  std::shared_ptr<collective::group> group_; ///< of the leader; nullptr: none yet, or it is lost
  std::shared_ptr<collective::group> lost_;  ///< the last one that was of no use any more
  /// Of the leader: the group that was told to write. Its port is free once it is lost, so it is not kept alive.
  std::weak_ptr<collective::group> writers_;
  std::shared_future<std::string> writing_; ///< "": this rank has written; else why it could not
  double norm_ = 0;
  std::int64_t changes_ = 0; ///< of parameters, since they were loaded
};

} // namespace millrace::train
