#include "runtime/collective/parcel.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <span>

namespace millrace::collective {
namespace {

constexpr int first_rank = 0;

// A parcel travels as the number of its bytes, and then as bytes: three counts; words; numbers; for each tensor its
// type, its shape and what it holds.

class writer {
public:
  template <class T>
  void add(std::span<const T> values) {
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(values.data());
    bytes_.insert(bytes_.end(), bytes, bytes + values.size_bytes());
  }

  void add(std::int64_t value) { add(std::span<const std::int64_t>(&value, 1)); }

  void add(const at::Tensor& tensor) {
    if (!tensor.defined())
      return add(std::int64_t{-1});
    const at::Tensor whole = tensor.contiguous();
    add(static_cast<std::int64_t>(whole.scalar_type()));
    add(whole.dim());
    add(std::span<const std::int64_t>(whole.sizes().data(), whole.sizes().size()));
    add(std::span(static_cast<const std::uint8_t*>(whole.const_data_ptr()), whole.nbytes()));
  }

  std::vector<std::uint8_t> take() { return std::move(bytes_); }

private:
  std::vector<std::uint8_t> bytes_;
};

class reader {
public:
  explicit reader(std::span<const std::uint8_t> bytes) : left_(bytes) {}

  void fill(void* into, std::size_t bytes) {
    if (bytes > left_.size())
      throw lost("a parcel that another rank cut short");
    if (bytes > 0)
      std::memcpy(into, left_.data(), bytes);
    left_ = left_.subspan(bytes);
  }

  std::int64_t number() {
    std::int64_t value = 0;
    fill(&value, sizeof value);
    return value;
  }

  template <class T>
  std::vector<T> numbers(std::int64_t count) {
    std::vector<T> values(static_cast<std::size_t>(count));
    fill(values.data(), values.size() * sizeof(T));
    return values;
  }

  at::Tensor tensor() {
    const auto type = number();
    if (type < 0)
      return {};
    at::Tensor made =
        at::empty(numbers<std::int64_t>(number()), at::TensorOptions().dtype(static_cast<at::ScalarType>(type)));
    fill(made.mutable_data_ptr(), made.nbytes());
    return made;
  }

private:
  std::span<const std::uint8_t> left_;
};

at::Tensor packed(const parcel& what) {
  writer out;
  for (const auto count : {what.words.size(), what.numbers.size(), what.tensors.size()})
    out.add(static_cast<std::int64_t>(count));
  out.add(std::span(what.words));
  out.add(std::span(what.numbers));
  for (const auto& tensor : what.tensors)
    out.add(tensor);
  const auto bytes = out.take();
  at::Tensor made = at::empty({static_cast<std::int64_t>(bytes.size())}, at::kByte);
  std::memcpy(made.mutable_data_ptr(), bytes.data(), bytes.size());
  return made;
}

parcel unpacked(const at::Tensor& bytes) {
  reader in({bytes.const_data_ptr<std::uint8_t>(), static_cast<std::size_t>(bytes.numel())});
  const auto words = in.number(), numbers = in.number(), tensors = in.number();
  parcel what{.words = in.numbers<std::int64_t>(words), .numbers = in.numbers<double>(numbers), .tensors = {}};
  for (std::int64_t i = 0; i < tensors; ++i)
    what.tensors.push_back(in.tensor());
  return what;
}

using tensors = std::vector<at::Tensor>;

at::Tensor one_number(std::int64_t value = 0) {
  return at::full({1}, value, at::kLong);
}

/// @param bytes by rank, undefined where nothing is sent
void send(group& ranks, const tensors& bytes) {
  const tensors nothing(bytes.size());
  tensors counts(bytes.size());
  for (std::size_t r = 0; r < bytes.size(); ++r)
    if (bytes[r].defined())
      counts[r] = one_number(bytes[r].numel());
  ranks.exchange(counts, nothing);
  ranks.exchange(bytes, nothing);
}

/// @param from ranks that send
std::vector<parcel> receive(group& ranks, std::span<const int> from) {
  const auto size = static_cast<std::size_t>(ranks.size());
  const tensors nothing(size);
  tensors counts(size), bytes(size);
  for (const int r : from)
    counts[static_cast<std::size_t>(r)] = one_number();
  ranks.exchange(nothing, counts);
  for (const int r : from)
    bytes[static_cast<std::size_t>(r)] =
        at::empty({counts[static_cast<std::size_t>(r)].item<std::int64_t>()}, at::kByte);
  ranks.exchange(nothing, bytes);
  std::vector<parcel> received;
  for (const int r : from)
    received.push_back(unpacked(bytes[static_cast<std::size_t>(r)]));
  return received;
}

} // namespace

std::vector<std::int64_t> words_of(std::string_view text) {
  return {text.begin(), text.end()};
}

std::string text_of(std::span<const std::int64_t> words) {
  std::string text;
  for (const auto word : words)
    text += static_cast<char>(word);
  return text;
}

void hand_out(group& ranks, const std::vector<parcel>& parcels) {
  tensors bytes(static_cast<std::size_t>(ranks.size()));
  for (std::size_t r = 1; r < bytes.size(); ++r)
    bytes[r] = packed(parcels[r - 1]);
  send(ranks, bytes);
}

void hand_to_all(group& ranks, const parcel& what) {
  tensors bytes(static_cast<std::size_t>(ranks.size()));
  std::fill(bytes.begin() + 1, bytes.end(), packed(what));
  send(ranks, bytes);
}

parcel take(group& ranks) {
  return receive(ranks, std::array{first_rank}).front();
}

void hand_in(group& ranks, const parcel& what) {
  tensors bytes(static_cast<std::size_t>(ranks.size()));
  bytes[first_rank] = packed(what);
  send(ranks, bytes);
}

std::vector<parcel> collect(group& ranks) {
  std::vector<int> others;
  for (int r = 1; r < ranks.size(); ++r)
    others.push_back(r);
  return receive(ranks, others);
}

std::vector<parcel> hand_around(group& ranks, const std::vector<parcel>& parcels) {
  const auto size = static_cast<std::size_t>(ranks.size()), me = static_cast<std::size_t>(ranks.rank());
  tensors bytes(size), counts(size), incoming(size), incoming_counts(size);
  for (std::size_t r = 0; r < size; ++r)
    if (r != me) {
      bytes[r] = packed(parcels.at(r));
      counts[r] = one_number(bytes[r].numel());
      incoming_counts[r] = one_number();
    }
  ranks.exchange(counts, incoming_counts);
  for (std::size_t r = 0; r < size; ++r)
    if (r != me)
      incoming[r] = at::empty({incoming_counts[r].item<std::int64_t>()}, at::kByte);
  ranks.exchange(bytes, incoming);
  std::vector<parcel> received(size);
  for (std::size_t r = 0; r < size; ++r)
    if (r != me)
      received[r] = unpacked(incoming[r]);
  return received;
}

} // namespace millrace::collective
