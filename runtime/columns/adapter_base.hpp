#pragma once

#include "runtime/model/adapter.hpp"
#include "runtime/model/weights.hpp"
#include "runtime/transport/bundle.hpp"
#include "runtime/words/ticket.hpp"

#include <filesystem>
#include <optional>

namespace millrace::columns {

/// An adapter as a bundle: its halves in fp32 under their names, `rank` i64 [1], `alpha` f64 [1].
transport::bundle bundle_of(const model::adapter& adapter);

/// What such a bundle holds, in its own memory. @throws std::invalid_argument, std::out_of_range for another bundle
model::adapter adapter_of(const transport::bundle& adapter);

/// The model that a policy's adapters stand on, read from its own files when it is first needed, and kept: in bfloat16
/// what the files have so, all else in fp32. So no number is rounded before it is merged. Not thread-safe.
class adapter_base {
public:
  /// @param path of the model
  explicit adapter_base(std::filesystem::path path) : path_(std::move(path)) {}

  /// A version of the policy's weights, bit for bit: base and adapter merged, as its ticket has it.
  /// @param adapter as `bundle_of` made it @param version the ticket of all of it, with checksums
  /// @throws std::exception in one line: a base that cannot be read or is another one, an adapter that does not fit it
  transport::bundle merged(const transport::bundle& adapter, const ticket& version);

  /// Bytes that are kept; 0 before the first `merged`.
  std::size_t bytes() const;

private:
  void check(const ticket& version) const;

  std::filesystem::path path_;
  std::optional<model::weights> weights_;
};

} // namespace millrace::columns
