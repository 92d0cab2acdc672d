#pragma once

#include "runtime/transport/hmac.hpp"

#include <filesystem>
#include <span>

namespace millrace::cluster {

/// PEM files for CAF's OpenSSL manager (`openssl.certificate`, `openssl.key`, `openssl.cafile`).
struct tls_files {
  std::filesystem::path certificate;
  std::filesystem::path key;
  std::filesystem::path ca;
};

/// TLS credentials out of a shared secret: whoever holds the same secret derives the same certificate authority
/// (EC P-256, its key by HKDF-SHA256) and signs itself a certificate, so that two such processes trust each other and
/// nobody else. The files lie in a private folder (0700) that is removed with this object.
class credentials {
public:
  /// @param secret_file at least 32 bytes of anything, every byte counts; not readable by others
  /// @throws input_error naming the file if it is missing, not a file, too short, too long (1 MiB) or readable by
  /// others
  explicit credentials(const std::filesystem::path& secret_file);

  /// @throws std::invalid_argument for fewer than 32 bytes
  explicit credentials(std::span<const std::byte> secret);

  ~credentials();
  credentials(credentials&& other) noexcept;
  credentials& operator=(credentials&& other) noexcept;

  const tls_files& files() const { return files_; }

private:
  credentials() = default;

  std::filesystem::path folder_;
  tls_files files_;
};

/// 32 bytes of the system's random source.
transport::key256 random_key();

} // namespace millrace::cluster
