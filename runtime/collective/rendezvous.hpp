#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>

namespace millrace::collective {

/// Words that the ranks of one group tell each other before they are connected. Who carries them knows all ranks and
/// nothing of what they say. One group, one rendezvous: words are never forgotten.
class rendezvous {
public:
  /// To every other rank. Any thread; must not block. Key and value are ASCII.
  using tell = std::function<void(std::string key, std::string value)>;
  using abort_handler = std::function<void(const std::string& why)>;

  explicit rendezvous(tell to_others) : to_others_(std::move(to_others)) {}

  /// Another rank's word has arrived. Any thread.
  void told(const std::string& key, const std::string& value);

  /// Everyone who waits for a word, now or later, gets `lost(why)`. Any thread.
  void abort(const std::string& why);

  /// An own word: it is kept, and told to the others.
  void put(const std::string& key, const std::string& value);

  /// @returns whether the word is here
  bool has(const std::string& key) const;

  /// Waits for a word. @param whose who is to say it, in plain words: "rank 2" @param within as told to people
  /// @throws lost at the deadline or at an abort
  std::string wait(const std::string& key, const std::string& whose, std::chrono::steady_clock::time_point deadline,
                   std::chrono::milliseconds within) const;

  /// Who else is told of an abort, at once if it has come already. Nobody at first.
  void on_abort(abort_handler handler);

private:
  tell to_others_;
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  std::map<std::string, std::string> words_;
  std::optional<std::string> aborted_;
  abort_handler on_abort_;
};

} // namespace millrace::collective
