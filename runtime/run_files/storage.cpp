#include "runtime/run_files/storage.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

namespace millrace::run_files {
namespace {

[[noreturn]] void refuse(std::string_view what, const std::filesystem::path& path) {
  const int code = errno;
  throw storage_error("cannot " + std::string{what} + " " + path.string() + ": " + std::strerror(code));
}

descriptor open_file(const std::filesystem::path& path, int flags) {
  const int number = ::open(path.c_str(), flags | O_CLOEXEC, 0644);
  if (number < 0)
    refuse("open", path);
  return descriptor{number};
}

} // namespace

descriptor::descriptor(descriptor&& other) noexcept : number_{std::exchange(other.number_, -1)} {
}

descriptor& descriptor::operator=(descriptor&& other) noexcept {
  std::swap(number_, other.number_);
  return *this;
}

descriptor::~descriptor() {
  if (number_ >= 0)
    ::close(number_);
}

void write_all(int file, std::string_view bytes, const std::filesystem::path& path) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(file, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR)
      continue;
    if (written < 0)
      refuse("write", path);
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
}

void flush_to_disk(const std::filesystem::path& path) {
  const descriptor file = open_file(path, O_RDONLY);
  if (::fsync(file.get()) != 0)
    refuse("flush", path);
}

void replace_file(const std::filesystem::path& path, std::string_view bytes, survives what) {
  const auto beside = std::filesystem::path{path}.concat(".new");
  try {
    const descriptor file = open_file(beside, O_WRONLY | O_CREAT | O_TRUNC);
    write_all(file.get(), bytes, path);
    if (what == survives::power_cut && ::fsync(file.get()) != 0)
      refuse("flush", path);
  } catch (const storage_error&) {
    ::unlink(beside.c_str());
    throw;
  }
  if (::rename(beside.c_str(), path.c_str()) != 0)
    refuse("replace", path);
  if (what == survives::power_cut)
    flush_to_disk(std::filesystem::absolute(path).parent_path());
}

void swap_folder(const std::filesystem::path& from, const std::filesystem::path& to) {
  const bool taken = std::filesystem::exists(to);
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), taken ? RENAME_EXCHANGE : 0) == 0)
    return;
  if (taken && (errno == EINVAL || errno == ENOSYS)) {
    std::filesystem::remove_all(to);
    if (::rename(from.c_str(), to.c_str()) == 0)
      return;
  }
  throw storage_error("cannot rename " + from.string() + " to " + to.string() + ": " + std::strerror(errno));
}

std::string in_bytes(std::uintmax_t bytes) {
  constexpr std::array units{"bytes", "KB", "MB", "GB", "TB", "PB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 999.5 && unit + 1 < units.size()) {
    value /= 1000;
    ++unit;
  }
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), unit > 0 && value < 9.95 ? "%.1f %s" : "%.0f %s", value, units[unit]);
  return text.data();
}

void append_whole(const descriptor& file, std::string_view bytes, const std::filesystem::path& path) {
  const off_t before = ::lseek(file.get(), 0, SEEK_END);
  try {
    write_all(file.get(), bytes, path);
  } catch (const storage_error&) {
    if (before >= 0 && ::ftruncate(file.get(), before) != 0)
      throw storage_error(path.string() + " ends in a part of a record, and cannot be cut: " + std::strerror(errno));
    throw;
  }
}

descriptor open_to_append(const std::filesystem::path& path) {
  return open_file(path, O_WRONLY | O_CREAT | O_APPEND);
}

void truncate_file(const std::filesystem::path& path, std::uintmax_t bytes) {
  if (::truncate(path.c_str(), static_cast<off_t>(bytes)) != 0)
    refuse("cut", path);
}

std::string read_file(const std::filesystem::path& path, std::size_t most_bytes) {
  const descriptor file = open_file(path, O_RDONLY);
  std::string bytes;
  std::array<char, 1 << 16> part;
  for (;;) {
    const ssize_t got = ::read(file.get(), part.data(), part.size());
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      refuse("read", path);
    if (got == 0)
      return bytes;
    bytes.append(part.data(), static_cast<std::size_t>(got));
    if (bytes.size() > most_bytes)
      throw storage_error("cannot read " + path.string() + ": it has more than " + std::to_string(most_bytes)
                          + " bytes");
  }
}

} // namespace millrace::run_files
