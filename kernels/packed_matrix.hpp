#pragma once

#include "kernels/bfloat16.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace millrace::kernels {

class thread_team;

/// A weight matrix W [out, in] laid out for products with few rows: panels of `panel_width` outputs, each panel holding
/// its `in` steps one after another, so that a product reads the weights once, front to back. Immutable.
///
/// Within a step, floats stand in the order of the outputs. A bfloat16 of one of the first 16 outputs has that of the
/// output 16 further on as its neighbour: both widen without being moved. How int8 lies, int8_panel.hpp says.
class packed_matrix {
public:
  /// Outputs of one panel; the last panel is padded with zeros.
  static constexpr std::int64_t panel_width = 32;

  /// Memory that a matrix takes, a multiple of 64. @throws std::invalid_argument if a size is not positive
  static std::size_t bytes_of(std::int64_t out, std::int64_t in, storage stored_as);

  /// Copies `w`.
  /// @param w [out, in] row-major
  /// @param room `bytes_of` the matrix, aligned to 64 bytes, of nobody else; null: memory of its own
  /// @throws std::invalid_argument if a size is not positive
  packed_matrix(const float* w, std::int64_t out, std::int64_t in, std::shared_ptr<std::byte> room = nullptr);
  packed_matrix(const bfloat16* w, std::int64_t out, std::int64_t in, std::shared_ptr<std::byte> room = nullptr);

  /// Rounds to bfloat16.
  static packed_matrix as_bfloat16(const float* w, std::int64_t out, std::int64_t in,
                                   std::shared_ptr<std::byte> room = nullptr);

  /// Rounds to int8. Every 32 weights of an output, from input 0 on, share a scale s, the least 16-bit float of which
  /// 127 steps reach the largest of them: each becomes the nearest of the numbers -127 s, -126 s, ... 127 s. What was
  /// rounded so before, or is a GGUF's Q8_0, stays as it is where the largest is 0.002 or more.
  /// @throws std::invalid_argument also for a weight that is not finite, or above 127 * 65504 in size
  static packed_matrix as_int8(const float* w, std::int64_t out, std::int64_t in,
                               std::shared_ptr<std::byte> room = nullptr);
  static packed_matrix as_int8(const bfloat16* w, std::int64_t out, std::int64_t in,
                               std::shared_ptr<std::byte> room = nullptr);

  std::int64_t out() const { return out_; }

  std::int64_t in() const { return in_; }

  storage stored_as() const { return stored_as_; }

  /// What rounding to int8 changed of W, as a share of it: |W - stored| / |W| in the Euclidean norm.
  double rounding_error() const { return rounding_error_; }

  std::int64_t panels() const { return (out_ + panel_width - 1) / panel_width; }

  /// Aligned to 64 bytes. @tparam Number what `stored_as` says; a float or a bfloat16: [in, panel_width]
  template <class Number>
  const Number* panel(std::int64_t index) const {
    return reinterpret_cast<const Number*>(data_.get() + index * panel_bytes_);
  }

  /// Row `index` of W, widened. @param to [in]
  void copy_row(std::int64_t index, float* to) const;

private:
  packed_matrix(std::int64_t out, std::int64_t in, storage stored_as, std::shared_ptr<std::byte> room);

  template <class Stored, class Number>
  void lay_out(const Number* w);
  template <class Number>
  void round(const Number* w);

  std::int64_t out_, in_;
  storage stored_as_;
  std::int64_t panel_bytes_;
  double rounding_error_ = 0;
  std::shared_ptr<std::byte> data_;
};

/// One of several products over the same input: y = x W^T + bias.
struct packed_product {
  const packed_matrix* weight;
  const float* bias; ///< [out] or null
  float* y;          ///< [rows, out] row-major, output
};

/// y_i = x W_i^T + bias_i for every product, in one parallel region.
///
/// A row's result depends on that row and W only, bit for bit: not on the number of rows, the row's place, the other
/// products or the number of threads.
///
/// Floats and bfloat16: every element is a sum of chains of 128 fused multiply-adds over the inputs in their order,
/// then the bias. AVX-512 and AVX2 agree bit for bit; the portable version rounds each product on its own. Weights
/// stored as bfloat16 give the bits that the same numbers stored as floats give.
///
/// int8: every at most 512 inputs of a row are rounded to whole numbers of 15 bits and a sign that share a power of
/// two. Their products with weights of one scale are added up exactly; times that scale, these sums are added up in
/// fp32 in the order of the inputs. All instruction sets agree bit for bit.
///
/// @param x [rows, in] row-major, rows >= 0; `in` of every weight   @throws std::invalid_argument if the inputs differ
void packed_linear(const float* x, std::int64_t rows, std::span<const packed_product> products, thread_team& team);

/// The same arithmetic one element at a time: what `packed_linear` is tested against. With floats and bfloat16 sums are
/// in double; with int8 the bits are the same.
void packed_linear_reference(const float* x, std::int64_t rows, std::span<const packed_product> products);

} // namespace millrace::kernels
