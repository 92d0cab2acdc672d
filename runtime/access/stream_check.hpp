#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace millrace::access {

/// Follows what a proven connection says, before the library behind it sees it. A library takes lengths and types at
/// their word; whoever knows the key could make it take memory, or end it, with a few bytes.
class stream_check {
public:
  virtual ~stream_check() = default;

  /// The next bytes, in any pieces. @returns why the connection must end, in a few words; empty: it may go on
  virtual std::string take(std::span<const std::byte> bytes) = 0;

  /// The room that the library holds, in bytes, for what the other side has begun and not ended.
  virtual std::size_t promised() const { return 0; }

  /// Before the library reads on: it may read to where an earlier frame said. @returns why that may not be any more
  virtual std::string may_read() const { return ""; }

  /// Whether what this process sends matters too.
  virtual bool listens_to_own() const { return false; }

  /// The next bytes that this process has sent, in any pieces, on the thread that reads or while that one does not.
  virtual void told(std::span<const std::byte>) {}
};

} // namespace millrace::access
