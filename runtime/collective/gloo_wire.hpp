#pragma once

#include "runtime/access/key.hpp"
#include "runtime/collective/rendezvous.hpp"

#include <ATen/core/Tensor.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

namespace millrace::collective {

/// What happened, out of a line of Gloo's: without where in its sources, and without its advice.
std::string plain_words(std::string line);

/// Where and how a rank is reached.
struct wire_options {
  int rank = 0;
  int size = 1;
  std::string host;                     ///< address of this host that the others reach
  std::array<std::uint16_t, 2> ports{}; ///< first and last that it may listen on; 0 and 0: any that is free
  access::key256 key;                   ///< without a proof that one has it, nobody is connected
  std::chrono::steady_clock::time_point deadline;
  std::chrono::milliseconds within{0}; ///< what the deadline was, for people
};

/// Tensors from rank to rank, over the Gloo that is part of LibTorch.
///
/// What Gloo does otherwise than one would think, and what follows:
/// - A rank that dies in the middle of a tensor ends none of the waits for that tensor. It does end those for a tensor
///   that has not begun.
/// - A tensor that is longer than expected would end the whole process, one that is shorter would arrive without a
/// word.
///   `runtime/access` closes the connection of either before Gloo reads it.
/// - A tensor that has begun to arrive and is given up keeps Gloo's thread busy, and Gloo's destructors waiting, until
///   its connection is closed. So the destructor hangs up first.
/// - A wait that ends at its own deadline closes all connections.
/// - Calls for a rank that is not connected yet wait for the connection, five times as long as they are told. A
///   connection that is made after such a wait has ended ends the whole process.
class gloo_wire {
public:
  enum class kind { greeting, payload, farewell };

  /// A tensor on its way. It keeps the tensor alive; it goes before its wire.
  class post {
  public:
    virtual ~post() = default;

    /// Waits until the tensor has arrived, or has left this process. @returns false if it was cancelled
    /// @throws std::exception if the connection is gone
    virtual bool wait() = 0;

    /// Ends the wait under way, or else the next one. Any thread.
    virtual void cancel() = 0;
  };

  /// Opens the port, tells the others and waits for their words.
  /// @throws lost @throws std::exception if no port can be opened, as long as others have them all
  gloo_wire(const wire_options& options, std::shared_ptr<rendezvous> words);
  ~gloo_wire();

  /// Both wait until rank is connected. @throws std::exception if it is gone
  std::unique_ptr<post> send(const at::Tensor& tensor, int to, kind what);
  std::unique_ptr<post> receive(const at::Tensor& tensor, int from, kind what);

  /// Ends the waits for ranks that are not connected yet, as if these had come and gone. Any thread.
  void give_up_connecting();

private:
  struct library;
  void hang_up();

  std::unique_ptr<library> library_;
};

} // namespace millrace::collective
