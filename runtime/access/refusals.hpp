#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

namespace millrace::access {

/// Tells whom a port turned away: the first at once, those of the next seconds together in one line, however many they
/// are. Lives on the loop's thread.
class refusals {
public:
  using teller = std::function<void(const std::string& line)>;

  /// @param pause least time between two lines
  refusals(boost::asio::io_context& loop, teller tell,
           std::chrono::milliseconds pause = std::chrono::milliseconds(10'000))
      : timer_(loop), tell_(std::move(tell)), pause_(pause) {}

  /// @param who address:port @param why in a few words
  void add(const std::string& who, const std::string& why);

private:
  void wait();
  void tell_rest();

  boost::asio::steady_timer timer_;
  teller tell_;
  std::chrono::milliseconds pause_;
  bool waiting_ = false;
  std::uint64_t untold_ = 0;
  std::string last_; ///< of the untold ones
};

} // namespace millrace::access
