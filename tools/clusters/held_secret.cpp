#include "tools/clusters/held_secret.hpp"

#include "runtime/words/input_error.hpp"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <iostream>
#include <span>

namespace millrace::tools {

held_secret::held_secret(std::string text) : text_(std::move(text)), file_(memfd_create("secret", MFD_CLOEXEC)) {
  if (file_ < 0 || fchmod(file_, 0600) != 0
      || write(file_, text_.data(), text_.size()) != static_cast<ssize_t>(text_.size()))
    throw input_error(std::string("cannot keep a secret in memory: ") + std::strerror(errno));
}

held_secret::~held_secret() {
  close(file_);
}

cluster::root_key held_secret::root() const {
  return cluster::root_of(std::as_bytes(std::span(text_)));
}

std::string held_secret::path() const {
  return "/proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(file_);
}

std::string secret_on_stdin() {
  std::string secret;
  std::getline(std::cin, secret);
  constexpr std::size_t least_bytes = 32;
  if (secret.size() < least_bytes)
    throw input_error("--secret-file -: found a line of " + std::to_string(secret.size())
                      + " bytes on stdin, want at least 32");
  return secret;
}

} // namespace millrace::tools
