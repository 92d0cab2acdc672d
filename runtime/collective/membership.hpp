#pragma once

#include "runtime/collective/connect_ranks.hpp"
#include "runtime/collective/group_source.hpp"
#include "runtime/collective/rendezvous.hpp"

#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace millrace::collective {

/// One rank's place among the ranks of a learner. Whoever knows which ranks live (the coordinator) says when they are
/// to form a group, and when one of them is gone. A group of one generation has the same ranks for its whole life.
///
/// Each generation has a key of its own: a rank that is late, and looks for one of an earlier group at a port that has
/// been taken again, is turned away there.
///
/// `form`, `hear` and `part` return at once; groups are connected on the thread that calls `group_after`.
class membership : public group_source {
public:
  struct options {
    int rank = 0;
    std::string host = "127.0.0.1";                       ///< address of this host that the others reach
    std::array<std::uint16_t, 2> ports{};                 ///< first and last to listen on; 0 and 0: any that is free
    access::key256 key{};                                 ///< of these ranks, in all generations
    std::chrono::milliseconds form_deadline{60'000};      ///< for ranks that are all there to connect
    std::chrono::milliseconds wait_deadline{600'000};     ///< of whoever leads, for all ranks to be there
    std::chrono::milliseconds exchange_deadline{600'000}; ///< of each exchange
    bool leads = false;                        ///< it needs groups; others wait for one however long it takes
    rank_wire wire = rank_wire::gloo;          ///< the same of every rank
    std::shared_ptr<const device_port> port;   ///< of what this rank computes on; nullptr: a CPU
    std::function<void(std::string)> tell_how; ///< is told how a group's tensors travel: `connected_ranks::how`
  };

  /// A word for every other rank of a generation. Any thread; must not block.
  using tell = std::function<void(std::uint32_t generation, std::string key, std::string value)>;

  /// A generation is of no use any more, and no rank was said to be gone. Any thread; must not block.
  using complain = std::function<void(std::uint32_t generation, std::string why)>;

  membership(options own, tell to_others, complain of_loss);

  /// All ranks are there: they form the group of a generation, which replaces every older one.
  void form(std::uint32_t generation, int size);

  /// A word of another rank. It may come before this rank is told to form that group.
  void hear(std::uint32_t generation, const std::string& key, const std::string& value);

  /// A rank of a generation is gone. Whatever waits for it ends at once.
  void part(std::uint32_t generation, const std::string& why);

  /// There will be no group any more. What is under way ends at once.
  void close();

  std::shared_ptr<group> group_after(std::shared_ptr<group> last) override;

private:
  /// A group, and how it comes about.
  struct forming {
    std::uint32_t generation = 0;
    int size = 0;
    std::shared_ptr<rendezvous> words;
    std::shared_ptr<group> made; ///< nullptr: not yet
    bool over = false;           ///< a rank is gone
  };

  std::optional<forming> wait_for_order(std::unique_lock<std::mutex>& lock, std::optional<std::uint32_t> last);
  void end_newest(const std::string& why);

  options own_;
  tell to_others_;
  complain of_loss_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<forming> newest_;
  std::uint32_t told_lost_ = 0; ///< the newest generation that was complained of
  std::map<std::uint32_t, std::vector<std::pair<std::string, std::string>>> early_; ///< words, by generation
  bool closed_ = false;
};

} // namespace millrace::collective
