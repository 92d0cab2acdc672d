#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

// Gloo is part of libtorch_cpu.so, but its headers are no part of LibTorch, and ProcessGroupGloo.hpp includes five of
// them. Each of the five is this file (CMakeLists.txt): the names that ProcessGroupGloo.hpp mentions, as Gloo declares
// them. None is called by us; what LibTorch calls of them, it calls through its own headers.

/// The store has four more functions, as Gloo's own header says.
#define GLOO_STORE_HAS_STORE_V2 1

namespace gloo {

class Context {
public:
  void setTimeout(std::chrono::milliseconds timeout);
};

namespace transport {

class Device;

class UnboundBuffer {
public:
  virtual ~UnboundBuffer();
};

} // namespace transport

namespace rendezvous {

class Store {
public:
  virtual ~Store() = default;
  virtual void set(const std::string& key, const std::vector<char>& data) = 0;
  virtual std::vector<char> get(const std::string& key) = 0;
  virtual std::vector<char> wait_get(const std::string& key, const std::chrono::milliseconds& timeout) = 0;
  virtual void wait(const std::vector<std::string>& keys, const std::chrono::milliseconds& timeout) = 0;
  virtual bool has_v2_support() = 0;
  virtual std::vector<std::vector<char>> multi_get(const std::vector<std::string>& keys) = 0;
  virtual void multi_set(const std::vector<std::string>& keys, const std::vector<std::vector<char>>& values) = 0;
  virtual void append(const std::string& key, const std::vector<char>& data) = 0;
  virtual std::int64_t add(const std::string& key, std::int64_t value) = 0;
  virtual void wait(const std::vector<std::string>& keys) = 0;
};

} // namespace rendezvous
} // namespace gloo
