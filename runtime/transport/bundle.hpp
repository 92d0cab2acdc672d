#pragma once

#include "runtime/transport/packing.hpp"
#include "runtime/transport/shared_memory.hpp"
#include "runtime/words/tensor_spec.hpp"

#include <memory>
#include <optional>

namespace millrace::transport {

/// One named tensor and where its bytes lie.
struct column {
  tensor_spec spec;
  std::span<const std::byte> bytes;
};

/// Ordered named tensors that never change. Copies are cheap: they share the memory, which lives as long as one of
/// them. Columns of a bundle made by bundle_builder or received by a pull lie in one block, each at a multiple of
/// 64 bytes; those of a bundle made by `wrap` lie where their owner put them.
class bundle {
public:
  bundle() = default;

  /// A bundle over memory of somebody else, kept by `owner` (e.g. the tensors of a model's weights): no copy.
  /// @throws std::invalid_argument if a column's bytes are not as many as its spec says, or two have one name.
  static bundle wrap(std::vector<column> columns, std::shared_ptr<const void> owner);

  /// A bundle over one block that is laid out as `pack(layout)` says. @throws std::invalid_argument if it is shorter.
  static bundle over(std::span<const tensor_spec> layout, std::span<const std::byte> block,
                     std::shared_ptr<const void> owner);

  /// As above, over memory that other processes of this host can read in place.
  static bundle over(std::span<const tensor_spec> layout, std::shared_ptr<const shared_memory> memory);

  std::span<const column> columns() const { return columns_; }

  std::vector<tensor_spec> layout() const;
  bool has(std::string_view name) const;

  /// @throws std::out_of_range naming the column that is missing and those that are there.
  const column& at(std::string_view name) const;

  /// The elements of a column. @throws as `at`, and std::invalid_argument if the column has another type.
  template <class T>
  std::span<const T> view(std::string_view name) const {
    const column& c = at(name);
    if (!is_element_of<T>(c.spec.type))
      wrong_type(c.spec, name_of(dtype_of<T>()));
    return {reinterpret_cast<const T*>(c.bytes.data()), c.bytes.size() / sizeof(T)};
  }

  /// Sum of the columns' bytes, without the gaps between them.
  std::size_t bytes() const;

  /// What keeps the memory alive: hold it as long as a pointer into a column is used.
  const std::shared_ptr<const void>& owner() const { return owner_; }

  /// The one block that holds every column as `pack(layout())` says; nothing for a wrapped bundle.
  const std::optional<std::span<const std::byte>>& block() const { return block_; }

  /// What `block` begins, if other processes of this host can read it in place; else null.
  const std::shared_ptr<const shared_memory>& shared() const { return shared_; }

  /// XXH3-64 of each column's bytes, in order.
  std::vector<std::uint64_t> checksums() const;

  /// The columns at `places` (ascending, below `columns().size()`), in the same memory. It is one block no more, unless
  /// every column is among them.
  bundle only(std::span<const std::size_t> places) const;

private:
  [[noreturn]] static void wrong_type(const tensor_spec& spec, std::string_view wanted);

  std::vector<column> columns_;
  std::optional<std::span<const std::byte>> block_;
  std::shared_ptr<const void> owner_;
  std::shared_ptr<const shared_memory> shared_;
};

/// Collects columns by copy into one block: in shared memory, if they are at least `smallest_shared` bytes.
///
///     auto b = bundle_builder().add<std::int32_t>("tokens", tokens).add<float>("reward", rewards).finish();
class bundle_builder {
public:
  /// A vector, shape [values.size()]. The values must live until `finish`.
  template <class T>
  bundle_builder& add(std::string name, std::span<const T> values) {
    return add(std::move(name), values, {static_cast<std::int64_t>(values.size())});
  }

  template <class T>
  bundle_builder& add(std::string name, std::span<const T> values, std::vector<std::int64_t> shape) {
    return add_bytes({std::move(name), dtype_of<T>(), std::move(shape)}, std::as_bytes(values));
  }

  /// The columns of another bundle, in order.
  bundle_builder& add_all(const bundle& other);

  bundle_builder& add_bytes(tensor_spec spec, std::span<const std::byte> bytes);

  /// @throws std::invalid_argument as bundle::wrap
  bundle finish() const;

private:
  std::vector<column> columns_;
  std::vector<std::shared_ptr<const void>> owners_;
};

} // namespace millrace::transport
