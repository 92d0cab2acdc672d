#include "runtime/formats/gguf.hpp"

#include "runtime/formats/quoted.hpp"
#include "runtime/words/input_error.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

namespace millrace::formats {
namespace {

/// GGUF's numbers of metadata types, as the file stores them.
enum class value_type : std::uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, text, array, u64, i64, f64 };

struct tensor_type {
  std::uint32_t number; ///< ggml's
  storage kind;
};

constexpr std::array<tensor_type, 7> tensor_types{{{0, storage::f32},
                                                   {1, storage::f16},
                                                   {2, storage::q4_0},
                                                   {3, storage::q4_1},
                                                   {8, storage::q8_0},
                                                   {28, storage::f64},
                                                   {30, storage::bf16}}};

constexpr std::array<std::string_view, 31> ggml_names{
    "F32",   "F16",    "Q4_0", "Q4_1", "4",    "5",       "Q5_0",   "Q5_1",    "Q8_0",  "Q8_1",   "Q2_K",
    "Q3_K",  "Q4_K",   "Q5_K", "Q6_K", "Q8_K", "IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ1_S", "IQ4_NL", "IQ3_S",
    "IQ2_S", "IQ4_XS", "I8",   "I16",  "I32",  "I64",     "F64",    "IQ1_M",   "BF16"};

/// Walks the file's header; no read passes its end.
class cursor {
public:
  cursor(std::string path, std::span<const std::byte> bytes, const gguf_limits& limits)
      : path_(std::move(path)), bytes_(bytes), limits_(limits) {}

  std::size_t position() const { return at_; }

  [[noreturn]] void fail(const std::string& what) const { throw input_error(path_ + ": " + what); }

  template <class T>
  T number(const std::string& of) {
    need(sizeof(T), of);
    T out;
    std::memcpy(&out, bytes_.data() + at_, sizeof out);
    at_ += sizeof out;
    return out;
  }

  std::string text(const std::string& of) {
    const auto length = number<std::uint64_t>(of);
    if (length > limits_.string_bytes)
      fail(of + ": string of " + std::to_string(length) + " bytes, want at most "
           + std::to_string(limits_.string_bytes));
    need(length, of);
    std::string out(reinterpret_cast<const char*>(bytes_.data()) + at_, length);
    at_ += length;
    return out;
  }

  gguf_value value(const std::string& of, int depth = 0) { return value_of(number_of_type(of), of, depth); }

private:
  void need(std::uint64_t count, const std::string& of) const {
    if (count > bytes_.size() - at_)
      fail(of + ": the file ends inside it (truncated?)");
  }

  value_type number_of_type(const std::string& of) {
    const auto type = number<std::uint32_t>(of);
    if (type > static_cast<std::uint32_t>(value_type::f64))
      fail(of + ": value type " + std::to_string(type) + ", want 0 to 12");
    return static_cast<value_type>(type);
  }

  bool flag(const std::string& of) {
    const auto byte = number<std::uint8_t>(of);
    if (byte > 1)
      fail(of + ": bool of value " + std::to_string(byte) + ", want 0 or 1");
    return byte == 1;
  }

  gguf_value value_of(value_type type, const std::string& of, int depth) {
    switch (type) {
    case value_type::text:
      return {text(of)};
    case value_type::boolean:
      return {flag(of)};
    case value_type::f32:
      return {static_cast<double>(number<float>(of))};
    case value_type::f64:
      return {number<double>(of)};
    case value_type::u64:
      return {number<std::uint64_t>(of)};
    case value_type::array:
      return array(of, depth);
    default:
      return {integer(type, of)};
    }
  }

  /// Every kind of integer but u64, which `value_of` keeps whole.
  std::int64_t integer(value_type type, const std::string& of) {
    switch (type) {
    case value_type::u8:
      return number<std::uint8_t>(of);
    case value_type::i8:
      return number<std::int8_t>(of);
    case value_type::u16:
      return number<std::uint16_t>(of);
    case value_type::i16:
      return number<std::int16_t>(of);
    case value_type::u32:
      return number<std::uint32_t>(of);
    case value_type::i32:
      return number<std::int32_t>(of);
    case value_type::boolean:
      return flag(of);
    case value_type::u64: {
      const auto wide = number<std::uint64_t>(of);
      if (wide > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
        fail(of + ": " + std::to_string(wide) + " in an array, want at most 2^63 - 1");
      return static_cast<std::int64_t>(wide);
    }
    default:
      return number<std::int64_t>(of);
    }
  }

  gguf_value array(const std::string& of, int depth) {
    if (depth >= limits_.array_depth)
      fail(of + ": arrays nested deeper than " + std::to_string(limits_.array_depth));
    const value_type type = number_of_type(of);
    const auto count = number<std::uint64_t>(of);
    if (count > limits_.array_elements)
      fail(of + ": array of " + std::to_string(count) + " elements, want at most "
           + std::to_string(limits_.array_elements));
    // An element takes at least this much of the file, so a short file cannot ask for a long array.
    need(count * smallest(type), of);
    switch (type) {
    case value_type::text: {
      std::vector<std::string> out;
      out.reserve(count);
      for (std::uint64_t i = 0; i < count; ++i)
        out.push_back(text(of));
      return {std::move(out)};
    }
    case value_type::f32:
    case value_type::f64: {
      std::vector<double> out(count);
      for (auto& item : out)
        item = type == value_type::f32 ? static_cast<double>(number<float>(of)) : number<double>(of);
      return {std::move(out)};
    }
    case value_type::array: {
      gguf_value::array out;
      for (std::uint64_t i = 0; i < count; ++i)
        out.push_back(array(of, depth + 1));
      return {std::move(out)};
    }
    default: {
      std::vector<std::int64_t> out(count);
      for (auto& item : out)
        item = integer(type, of);
      return {std::move(out)};
    }
    }
  }

  static std::uint64_t smallest(value_type type) {
    constexpr std::array<std::uint64_t, 13> bytes{1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8};
    return bytes.at(static_cast<std::size_t>(type));
  }

  std::string path_;
  std::span<const std::byte> bytes_;
  gguf_limits limits_;
  std::size_t at_ = 0;
};

/// One tensor's entry; `offset` counts from the start of the data.
struct tensor_entry {
  stored_tensor tensor;
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
};

tensor_entry read_entry(cursor& in) {
  tensor_entry out;
  out.tensor.name = in.text("a tensor's name");
  const std::string of = "tensor " + in_quotes(out.tensor.name);
  const auto dimensions = in.number<std::uint32_t>(of);
  if (dimensions > 4)
    in.fail(of + ": " + std::to_string(dimensions) + " dimensions, want at most 4");
  for (std::uint32_t i = 0; i < dimensions; ++i) {
    const auto size = in.number<std::uint64_t>(of);
    if (size > std::uint64_t{1} << 62)
      in.fail(of + ": dimension of " + std::to_string(size));
    out.tensor.shape.insert(out.tensor.shape.begin(), static_cast<std::int64_t>(size));
  }
  const auto number = in.number<std::uint32_t>(of);
  const auto type =
      std::find_if(tensor_types.begin(), tensor_types.end(), [&](const tensor_type& t) { return t.number == number; });
  if (type == tensor_types.end())
    in.fail(of + ": type " + (number < ggml_names.size() ? std::string(ggml_names[number]) : std::to_string(number))
            + ", want F32, F16, BF16, F64, Q8_0, Q4_0 or Q4_1");
  out.tensor.kind = type->kind;
  const auto bytes = storage_bytes(type->kind, out.tensor.shape);
  if (!bytes)
    in.fail(of + ": its shape overflows or its rows are no whole blocks of 32");
  out.bytes = static_cast<std::uint64_t>(*bytes);
  out.offset = in.number<std::uint64_t>(of);
  return out;
}

/// Puts every entry where its bytes lie, after checking alignment, bounds and that no two share a byte.
void place_entries(const cursor& in, std::vector<tensor_entry>& entries, std::span<const std::byte> data,
                   std::uint64_t alignment) {
  std::sort(entries.begin(), entries.end(), [](const tensor_entry& a, const tensor_entry& b) {
    return std::pair(a.offset, a.bytes) < std::pair(b.offset, b.bytes);
  });
  std::uint64_t taken = 0;
  for (auto& entry : entries) {
    const std::string of = "tensor " + in_quotes(entry.tensor.name);
    if (entry.offset % alignment != 0)
      in.fail(of + ": offset " + std::to_string(entry.offset) + ", want a multiple of " + std::to_string(alignment));
    if (entry.offset > data.size() || entry.bytes > data.size() - entry.offset)
      in.fail(of + ": " + std::to_string(entry.bytes) + " bytes at " + std::to_string(entry.offset)
              + " of the data, but the file has " + std::to_string(data.size()) + " (truncated?)");
    if (entry.bytes > 0 && entry.offset < taken)
      in.fail(of + ": shares bytes with another tensor");
    taken = std::max(taken, entry.offset + entry.bytes);
    entry.tensor.bytes = data.subspan(entry.offset, entry.bytes);
  }
}

} // namespace

gguf_file::gguf_file(const std::filesystem::path& path, gguf_limits limits) : path_(path.string()), file_(path) {
  cursor in(path_, file_.bytes(), limits);
  if (file_.bytes().size() < 4 || std::memcmp(file_.bytes().data(), "GGUF", 4) != 0)
    in.fail("does not start with 'GGUF': not a GGUF file");
  in.number<std::uint32_t>("the magic");
  const auto version = in.number<std::uint32_t>("the version");
  if (version == 0x02000000 || version == 0x03000000)
    in.fail("big-endian GGUF, want little-endian");
  if (version != 2 && version != 3)
    in.fail("GGUF version " + std::to_string(version) + ", want 2 or 3");
  const auto tensors = in.number<std::uint64_t>("the number of tensors");
  const auto keys = in.number<std::uint64_t>("the number of metadata keys");
  if (tensors > limits.tensors || keys > limits.keys)
    in.fail(std::to_string(tensors) + " tensors and " + std::to_string(keys) + " metadata keys, want at most "
            + std::to_string(limits.tensors) + " and " + std::to_string(limits.keys));
  for (std::uint64_t i = 0; i < keys; ++i) {
    std::string key = in.text("metadata key " + std::to_string(i + 1));
    const std::string of = "metadata " + in_quotes(key);
    gguf_value found = in.value(of);
    if (!metadata_.emplace(std::move(key), std::move(found)).second)
      in.fail(of + " stands twice");
  }
  const std::int64_t alignment = integer("general.alignment").value_or(32);
  if (alignment < 8 || alignment > 1 << 20 || alignment % 8 != 0)
    in.fail("general.alignment: " + std::to_string(alignment) + ", want a multiple of 8 up to 1048576");

  std::vector<tensor_entry> entries;
  for (std::uint64_t i = 0; i < tensors; ++i)
    entries.push_back(read_entry(in));
  const auto unit = static_cast<std::uint64_t>(alignment);
  const std::uint64_t start = std::min<std::uint64_t>((in.position() + unit - 1) / unit * unit, file_.bytes().size());
  place_entries(in, entries, file_.bytes().subspan(start), unit);
  for (auto& entry : entries)
    tensors_.push_back(std::move(entry.tensor));
  std::sort(tensors_.begin(), tensors_.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  const auto twice = std::adjacent_find(tensors_.begin(), tensors_.end(),
                                        [](const auto& a, const auto& b) { return a.name == b.name; });
  if (twice != tensors_.end())
    in.fail("tensor " + in_quotes(twice->name) + " stands twice");
}

const stored_tensor* gguf_file::find(std::string_view name) const {
  const auto found = std::lower_bound(tensors_.begin(), tensors_.end(), name,
                                      [](const stored_tensor& t, std::string_view n) { return t.name < n; });
  return found != tensors_.end() && found->name == name ? &*found : nullptr;
}

const gguf_value* gguf_file::value(std::string_view key) const {
  const auto found = metadata_.find(key);
  return found == metadata_.end() ? nullptr : &found->second;
}

namespace {

template <class T>
const T* typed(const gguf_file& file, std::string_view key, const char* want) {
  const gguf_value* found = file.value(key);
  if (found == nullptr)
    return nullptr;
  const T* value = std::get_if<T>(&found->value);
  if (value == nullptr)
    throw input_error(file.path() + ": " + std::string(key) + ": a value of another type, want " + want);
  return value;
}

} // namespace

std::optional<std::int64_t> gguf_file::integer(std::string_view key) const {
  const gguf_value* found = value(key);
  if (found == nullptr)
    return std::nullopt;
  if (const auto* wide = std::get_if<std::uint64_t>(&found->value)) {
    if (*wide > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
      throw input_error(path_ + ": " + std::string(key) + ": " + std::to_string(*wide) + ", want at most 2^63 - 1");
    return static_cast<std::int64_t>(*wide);
  }
  return *typed<std::int64_t>(*this, key, "an integer");
}

std::optional<double> gguf_file::number(std::string_view key) const {
  const gguf_value* found = value(key);
  if (found == nullptr)
    return std::nullopt;
  if (const auto* whole = std::get_if<std::int64_t>(&found->value))
    return static_cast<double>(*whole);
  return *typed<double>(*this, key, "a number");
}

std::optional<bool> gguf_file::flag(std::string_view key) const {
  const bool* found = typed<bool>(*this, key, "a bool");
  return found == nullptr ? std::nullopt : std::optional(*found);
}

const std::string* gguf_file::text(std::string_view key) const {
  return typed<std::string>(*this, key, "a string");
}

const std::vector<std::string>* gguf_file::texts(std::string_view key) const {
  return typed<std::vector<std::string>>(*this, key, "an array of strings");
}

const std::vector<std::int64_t>* gguf_file::integers(std::string_view key) const {
  return typed<std::vector<std::int64_t>>(*this, key, "an array of integers");
}

} // namespace millrace::formats
