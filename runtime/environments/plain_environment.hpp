#pragma once

#include "runtime/environments/environment.hpp"

#include <map>
#include <memory>
#include <mutex>
#include <vector>

namespace millrace::environments {

/// One episode of an environment that answers at once.
class episode {
public:
  virtual ~episode() = default;
  virtual saying take(const written_turn& turn) = 0;
};

/// An environment that answers at once: it keeps its episodes.
class plain_environment : public environment {
public:
  void begin(group_attempt group, const episode_row& row, std::int32_t answers, std::uint64_t seed,
             opened_to done) final;
  void take(const episode_id& episode, const written_turn& turn, said_to done) final;
  void end(group_attempt group) final;

protected:
  /// What every episode of the row begins with.
  virtual std::vector<chat_turn> opening(const episode_row& row) const = 0;

  /// @param seed of the group  @throws std::exception for a row that no episode can be about
  virtual std::unique_ptr<episode> start(const episode_row& row, std::uint64_t seed) const = 0;

private:
  std::mutex lock_;
  std::map<group_attempt, std::vector<std::unique_ptr<episode>>> episodes_;
};

} // namespace millrace::environments
