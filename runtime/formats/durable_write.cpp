#include "runtime/formats/durable_write.hpp"

#include "runtime/words/input_error.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

namespace millrace::formats {
namespace fs = std::filesystem;

namespace {

[[noreturn]] void fail(const fs::path& path, const std::string& what, int reason) {
  throw input_error(path.string() + ": cannot " + what + ": " + std::strerror(reason));
}

/// @param put as ::write and ::pwrite, how much of what is left was written
template <class Put>
void put_all(const fs::path& path, std::span<const std::byte> bytes, Put put) {
  while (!bytes.empty()) {
    const ssize_t written = put(bytes);
    if (written < 0 && errno == EINTR)
      continue;
    if (written < 0)
      fail(path, "write", errno);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

void sync_and_close(const fs::path& path, int descriptor, const char* what) {
  const int failed = ::fsync(descriptor) != 0 ? errno : 0;
  // Some file systems report a full disk or a quota only here.
  const int close_failed = ::close(descriptor) != 0 ? errno : 0;
  if (failed != 0 || close_failed != 0)
    fail(path, what, failed != 0 ? failed : close_failed);
}

} // namespace

new_file::new_file(fs::path path) : path_(std::move(path)) {
  descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (descriptor_ < 0)
    fail(path_, "create", errno);
}

new_file::~new_file() {
  if (descriptor_ < 0)
    return;
  ::close(descriptor_);
  ::unlink(path_.c_str());
}

void new_file::write(std::span<const std::byte> bytes) {
  put_all(path_, bytes, [this](auto left) { return ::write(descriptor_, left.data(), left.size()); });
}

void new_file::write(std::string_view text) {
  write(std::as_bytes(std::span(text)));
}

void new_file::finish() {
  const int descriptor = std::exchange(descriptor_, -1);
  try {
    sync_and_close(path_, descriptor, "write");
  } catch (const input_error&) {
    ::unlink(path_.c_str());
    throw;
  }
}

placed_file::placed_file(fs::path path, int flags)
    : path_(std::move(path)), descriptor_(::open(path_.c_str(), O_WRONLY | O_CLOEXEC | flags, 0666)) {
  if (descriptor_ < 0)
    fail(path_, (flags & O_CREAT) != 0 ? "create" : "open", errno);
}

placed_file::placed_file(placed_file&& other) noexcept
    : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)) {
}

placed_file::~placed_file() {
  if (descriptor_ >= 0)
    ::close(descriptor_);
}

placed_file placed_file::made(const fs::path& path, std::int64_t bytes) {
  placed_file file(path, O_CREAT | O_TRUNC);
  if (::fallocate(file.descriptor_, 0, 0, bytes) == 0)
    return file;
  if (errno != EOPNOTSUPP && errno != ENOSYS)
    fail(path, "write", errno);
  if (::ftruncate(file.descriptor_, bytes) != 0)
    fail(path, "write", errno);
  return file;
}

placed_file placed_file::opened(const fs::path& path, std::int64_t bytes) {
  placed_file file(path, 0);
  const auto found = ::lseek(file.descriptor_, 0, SEEK_END);
  if (found < 0)
    fail(path, "read", errno);
  if (found != bytes)
    throw input_error(path.string() + ": " + std::to_string(found) + " bytes, want the " + std::to_string(bytes)
                      + " that another writer made room for");
  return file;
}

void placed_file::write(std::int64_t at, std::span<const std::byte> bytes) {
  const auto end = at + static_cast<std::int64_t>(bytes.size());
  put_all(path_, bytes, [this, end](auto left) {
    return ::pwrite(descriptor_, left.data(), left.size(), end - static_cast<std::int64_t>(left.size()));
  });
}

void placed_file::finish() {
  sync_and_close(path_, std::exchange(descriptor_, -1), "write");
}

void write_new_file(const fs::path& path, std::string_view text) {
  new_file file(path);
  file.write(text);
  file.finish();
}

new_folder::new_folder(fs::path path) : path_(std::move(path)) {
  if (!path_.has_filename())
    path_ = path_.parent_path();
  std::error_code error;
  const auto status = fs::symlink_status(path_, error);
  if (fs::exists(status) && !fs::is_directory(status))
    throw input_error(path_.string() + ": is there and is no folder; want a new name");
  if (fs::exists(status) && !fs::is_empty(path_, error))
    throw input_error(path_.string() + ": the folder holds something already; want a new name or an empty folder");
  const fs::path parent = fs::absolute(path_).parent_path();
  fs::create_directories(parent, error);
  if (error)
    fail(parent, "create", error.value());
  static std::atomic<unsigned> counter{0};
  temporary_ =
      parent
      / ("." + path_.filename().string() + ".partial-" + std::to_string(::getpid()) + "-" + std::to_string(counter++));
  if (!fs::create_directory(temporary_, error))
    fail(temporary_, "create", error ? error.value() : EEXIST);
}

new_folder::~new_folder() {
  std::error_code error;
  if (!temporary_.empty())
    fs::remove_all(temporary_, error);
}

void new_folder::finish() {
  sync_folder(temporary_);
  if (::rename(temporary_.c_str(), path_.c_str()) != 0)
    fail(path_, "rename " + temporary_.filename().string() + " to it", errno);
  temporary_.clear();
  sync_folder(fs::absolute(path_).parent_path());
}

void sync_folder(const fs::path& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0)
    fail(folder, "open", errno);
  sync_and_close(folder, descriptor, "sync");
}

} // namespace millrace::formats
