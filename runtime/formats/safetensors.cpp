#include "runtime/formats/safetensors.hpp"

#include "runtime/formats/durable_write.hpp"
#include "runtime/formats/quoted.hpp"
#include "runtime/formats/strict_json.hpp"
#include "runtime/words/input_error.hpp"

#include <nlohmann/json.hpp>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <stdexcept>

namespace millrace::formats {
namespace {

static_assert(std::endian::native == std::endian::little, "tensors are copied as they lie in the file");

using json = nlohmann::json;

constexpr std::int64_t hard_header_bytes = 100'000'000;
constexpr std::size_t most_dimensions = 8;

/// Reads the entries of one header; every failure names the file and the tensor.
class header_reader {
public:
  header_reader(std::string path, std::span<const std::byte> buffer) : path_(std::move(path)), buffer_(buffer) {}

  stored_tensor tensor(const std::string& name, const json& entry) const {
    const std::string where = path_ + ": tensor " + in_quotes(name) + ": ";
    if (!entry.is_object() || !entry.contains("dtype") || !entry.contains("shape") || !entry.contains("data_offsets"))
      throw input_error(where + "want an object with dtype, shape and data_offsets");
    stored_tensor out;
    out.name = name;
    out.kind = kind(where, entry["dtype"]);
    out.shape = integers(where + "shape", entry["shape"]);
    if (out.shape.size() > most_dimensions)
      throw input_error(where + std::to_string(out.shape.size()) + " dimensions, want at most "
                        + std::to_string(most_dimensions));
    const auto offsets = integers(where + "data_offsets", entry["data_offsets"]);
    const auto end_of_buffer = static_cast<std::int64_t>(buffer_.size());
    if (offsets.size() != 2 || offsets[0] > offsets[1])
      throw input_error(where + "data_offsets want [begin, end] with begin <= end");
    if (offsets[1] > end_of_buffer)
      throw input_error(where + "ends at byte " + std::to_string(offsets[1]) + " of the data, but the file has "
                        + std::to_string(end_of_buffer) + " (truncated?)");
    const auto bytes = storage_bytes(out.kind, out.shape);
    if (!bytes || *bytes != offsets[1] - offsets[0])
      throw input_error(where + std::to_string(offsets[1] - offsets[0]) + " bytes, but its shape and dtype take "
                        + (bytes ? std::to_string(*bytes) : "more than can be counted"));
    out.bytes = buffer_.subspan(static_cast<std::size_t>(offsets[0]), static_cast<std::size_t>(*bytes));
    return out;
  }

private:
  static storage kind(const std::string& where, const json& entry) {
    constexpr std::array known{storage::f64, storage::f32, storage::f16, storage::bf16, storage::i64,
                               storage::i32, storage::i16, storage::i8,  storage::u8,   storage::boolean};
    const auto* text = entry.get_ptr<const std::string*>();
    const auto found = std::find_if(known.begin(), known.end(),
                                    [&](storage k) { return text != nullptr && storage_name(k) == *text; });
    if (found == known.end())
      throw input_error(where + "dtype " + (text != nullptr ? in_quotes(*text) : "is no string")
                        + ", want F64, F32, F16, BF16, I64, I32, I16, I8, U8 or BOOL");
    return *found;
  }

  static std::vector<std::int64_t> integers(const std::string& where, const json& entry) {
    std::vector<std::int64_t> out;
    if (!entry.is_array())
      throw input_error(where + ": want an array of integers");
    for (const auto& item : entry) {
      if (!item.is_number_unsigned() || item.get<std::uint64_t>() > std::uint64_t{1} << 62)
        throw input_error(where + ": want integers from 0 to 2^62");
      out.push_back(item.get<std::int64_t>());
    }
    return out;
  }

  std::string path_;
  std::span<const std::byte> buffer_;
};

/// Every byte of the buffer belongs to one tensor: nothing can hide between them.
void check_covered(const std::string& path, std::span<const std::byte> buffer, std::span<const stored_tensor> tensors) {
  std::vector<const stored_tensor*> order;
  for (const auto& tensor : tensors)
    order.push_back(&tensor);
  const auto begin = [&](const stored_tensor* t) { return t->bytes.data() - buffer.data(); };
  std::sort(order.begin(), order.end(), [&](const auto* a, const auto* b) {
    return std::pair(begin(a), a->bytes.size()) < std::pair(begin(b), b->bytes.size());
  });
  std::ptrdiff_t covered = 0;
  for (const auto* tensor : order) {
    if (begin(tensor) != covered)
      throw input_error(path + ": tensor " + in_quotes(tensor->name) + " starts at byte "
                        + std::to_string(begin(tensor)) + " of the data, want " + std::to_string(covered)
                        + ": tensors neither overlap nor leave gaps");
    covered += static_cast<std::ptrdiff_t>(tensor->bytes.size());
  }
  if (covered != static_cast<std::ptrdiff_t>(buffer.size()))
    throw input_error(path + ": " + std::to_string(static_cast<std::ptrdiff_t>(buffer.size()) - covered)
                      + " bytes after the last tensor belong to none");
}

/// @throws std::invalid_argument for a shape that cannot be counted
std::int64_t bytes_of_entry(const tensor_header& entry) {
  const auto bytes = storage_bytes(entry.kind, entry.shape);
  if (!bytes)
    throw std::invalid_argument("tensor " + in_quotes(entry.name) + ": its shape cannot be counted");
  return *bytes;
}

std::string header_text(std::span<const tensor_header> entries, const std::map<std::string, std::string>& metadata) {
  json header = json::object();
  if (!metadata.empty())
    header["__metadata__"] = metadata;
  std::int64_t offset = 0;
  for (const auto& entry : entries) {
    const std::int64_t end = offset + bytes_of_entry(entry);
    header[entry.name] = {{"dtype", storage_name(entry.kind)}, {"shape", entry.shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  return text;
}

/// All that comes before the tensors' bytes.
std::string head_of(std::span<const tensor_header> entries, const std::map<std::string, std::string>& metadata) {
  const std::string text = header_text(entries, metadata);
  const std::uint64_t length = text.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof length) + text;
}

/// @throws std::invalid_argument
void check_order(std::span<const tensor_header> entries) {
  for (std::size_t i = 1; i < entries.size(); ++i)
    if (!(entries[i - 1].name < entries[i].name))
      throw std::invalid_argument("tensors: want names sorted and unique, got " + entries[i - 1].name + " before "
                                  + entries[i].name);
}

} // namespace

safetensors_file::safetensors_file(const std::filesystem::path& path, safetensors_limits limits) : file_(path) {
  const std::string at = path.string();
  const auto bytes = file_.bytes();
  std::uint64_t length = 0;
  if (bytes.size() < sizeof length)
    throw input_error(at + ": " + std::to_string(bytes.size()) + " bytes, want a safetensors file (truncated?)");
  std::memcpy(&length, bytes.data(), sizeof length);
  const auto most = static_cast<std::uint64_t>(std::min(limits.header_bytes, hard_header_bytes));
  if (length > most)
    throw input_error(at + ": header of " + std::to_string(length) + " bytes, want at most " + std::to_string(most)
                      + " (not a safetensors file?)");
  if (length > bytes.size() - sizeof length)
    throw input_error(at + ": header of " + std::to_string(length) + " bytes, but the file has "
                      + std::to_string(bytes.size()) + " (truncated?)");
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + sizeof length, length);
  if (!text.starts_with('{'))
    throw input_error(at + ": the header does not start with '{' (not a safetensors file?)");
  const json header = parse_json(text, at, {static_cast<std::int64_t>(most), 8});
  if (static_cast<std::int64_t>(header.size()) > limits.tensors)
    throw input_error(at + ": " + std::to_string(header.size()) + " tensors, want at most "
                      + std::to_string(limits.tensors));

  const auto buffer = bytes.subspan(sizeof length + length);
  const header_reader reader(at, buffer);
  for (const auto& [name, entry] : header.items()) {
    if (name != "__metadata__") {
      tensors_.push_back(reader.tensor(name, entry));
      continue;
    }
    if (!entry.is_object())
      throw input_error(at + ": __metadata__: want an object of strings");
    for (const auto& [key, value] : entry.items()) {
      if (!value.is_string())
        throw input_error(at + ": __metadata__: " + in_quotes(key) + ": want a string");
      metadata_.emplace(key, value.get<std::string>());
    }
  }
  check_covered(at, buffer, tensors_);
}

const stored_tensor* safetensors_file::find(std::string_view name) const {
  const auto found = std::lower_bound(tensors_.begin(), tensors_.end(), name,
                                      [](const stored_tensor& t, std::string_view n) { return t.name < n; });
  return found != tensors_.end() && found->name == name ? &*found : nullptr;
}

void write_safetensors(const std::filesystem::path& path, std::span<const tensor_header> entries,
                       const entry_bytes& bytes_of, const std::map<std::string, std::string>& metadata) {
  check_order(entries);
  std::filesystem::path temporary = path.parent_path() / ".";
  temporary += path.filename();
  temporary += ".partial-" + std::to_string(::getpid());
  new_file file(temporary);
  file.write(head_of(entries, metadata));
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const auto bytes = bytes_of(i);
    if (static_cast<std::int64_t>(bytes.size()) != bytes_of_entry(entries[i]))
      throw std::invalid_argument("tensor " + in_quotes(entries[i].name) + ": " + std::to_string(bytes.size())
                                  + " bytes do not fill its shape");
    file.write(bytes);
  }
  file.finish();
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    const int reason = errno;
    ::unlink(temporary.c_str());
    throw input_error(path.string() + ": cannot create: " + std::strerror(reason));
  }
  sync_folder(path.has_parent_path() ? path.parent_path() : ".");
}

safetensors_parts::safetensors_parts(std::filesystem::path path, std::vector<tensor_header> entries,
                                     const std::map<std::string, std::string>& metadata)
    : path_(std::move(path)), entries_(std::move(entries)) {
  check_order(entries_);
  head_ = head_of(entries_, metadata);
  begins_.push_back(static_cast<std::int64_t>(head_.size()));
  for (const auto& entry : entries_)
    begins_.push_back(begins_.back() + bytes_of_entry(entry));
}

void safetensors_parts::make_room() const {
  placed_file file = placed_file::made(path_, begins_.back());
  file.write(0, std::as_bytes(std::span(head_)));
  file.finish();
  sync_folder(path_.has_parent_path() ? path_.parent_path() : ".");
}

void safetensors_parts::write(std::size_t entry, std::int64_t at, std::span<const std::byte> bytes) {
  const auto room = begins_.at(entry + 1) - begins_[entry];
  if (at < 0 || at > room || static_cast<std::int64_t>(bytes.size()) > room - at)
    throw std::invalid_argument("tensor " + in_quotes(entries_[entry].name) + ": " + std::to_string(bytes.size())
                                + " bytes at " + std::to_string(at) + " are beyond its " + std::to_string(room));
  if (!file_)
    file_.emplace(placed_file::opened(path_, begins_.back()));
  file_->write(begins_[entry] + at, bytes);
}

void safetensors_parts::finish() {
  if (file_)
    std::exchange(file_, std::nullopt)->finish();
}

} // namespace millrace::formats
