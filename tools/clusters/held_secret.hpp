#pragma once

#include "runtime/cluster/credentials.hpp"

#include <string>

namespace millrace::tools {

/// A secret of several hosts, in this process's memory alone. Processes of this user on this host read it as a file.
class held_secret {
public:
  /// @param text as `cluster::root_of` takes its bytes
  /// @throws input_error if the system keeps none
  explicit held_secret(std::string text);
  ~held_secret();
  held_secret(const held_secret&) = delete;
  held_secret& operator=(const held_secret&) = delete;

  const std::string& text() const { return text_; }

  cluster::root_key root() const;

  /// Where other processes read it, as long as this object lives.
  std::string path() const;

private:
  std::string text_;
  int file_;
};

/// The secret that whoever started this process writes into its stdin: the first line.
/// @throws input_error for one of fewer than 32 bytes
std::string secret_on_stdin();

} // namespace millrace::tools
