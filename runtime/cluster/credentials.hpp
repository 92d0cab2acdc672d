#pragma once

#include "runtime/access/key.hpp"

#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <memory>
#include <mutex>
#include <span>
#include <string_view>
#include <thread>
#include <utility>

namespace millrace::cluster {

/// PEM files for CAF's OpenSSL manager (`openssl.certificate`, `openssl.key`, `openssl.cafile`).
struct tls_files {
  std::filesystem::path certificate;
  std::filesystem::path key;
  std::filesystem::path ca;
};

/// What every credential of a shared secret is derived from. As good as the secret itself.
struct root_key {
  access::key256 bytes{};

  bool operator==(const root_key&) const = default;
};

/// @param secret at least 32 bytes of anything, every byte counts
/// @throws std::invalid_argument for fewer
root_key root_of(std::span<const std::byte> secret);

/// @param secret_file as `root_of` takes its bytes; not readable by others
/// @throws input_error naming the file if it is missing, not a file, too short, too long (1 MiB) or readable by
/// others
root_key root_of_file(const std::filesystem::path& secret_file);

/// TLS credentials out of a shared secret: whoever holds the same secret derives the same certificate authority
/// (EC P-256, its key by HKDF-SHA256) and signs itself a certificate, so that two such processes trust each other and
/// nobody else. The files lie in this process's memory (memfd), under a path that this process alone can use. They are
/// gone with this object or with the process, however it ends: no key is left behind on a disk.
///
/// A certificate lives for hours: one that leaks is soon worth nothing. A thread writes a new one, for the same key and
/// under the same path, whenever a third of that life has passed, so that a process of weeks can still be joined.
/// Connections that stand are not touched. A certificate is valid from a day before it is made, for clocks that differ.
class credentials {
public:
  static constexpr std::chrono::seconds certificate_life = std::chrono::hours(12);

  /// @param life how long a certificate is valid, at least 3 s
  explicit credentials(const root_key& root, std::chrono::seconds life = certificate_life);
  ~credentials();
  credentials(const credentials&) = delete;
  credentials& operator=(const credentials&) = delete;

  const tls_files& files() const { return files_; }

  /// The key that a connection must show before TLS begins: every holder of the secret has the same.
  const access::key256& connection_key() const { return connection_key_; }

private:
  /// A file without a folder, closed with this object.
  class memory_file {
  public:
    memory_file() = default;
    memory_file(const char* name, std::string_view text);
    ~memory_file();

    memory_file(memory_file&& other) noexcept : number_(std::exchange(other.number_, -1)) {}

    memory_file& operator=(memory_file&& other) noexcept {
      std::swap(number_, other.number_);
      return *this;
    }

    std::filesystem::path path() const;
    /// Another text under the same path.
    void replace(const char* name, std::string_view text);

  private:
    int number_ = -1;
  };

  struct signer;

  void certify();
  void keep_fresh();

  std::unique_ptr<const signer> signer_;
  std::chrono::seconds life_;
  memory_file certificate_, key_, ca_;
  tls_files files_;
  access::key256 connection_key_{};
  std::mutex mutex_;
  std::condition_variable ending_;
  bool ended_ = false;
  std::thread renewal_; ///< last: it uses the rest
};

} // namespace millrace::cluster
