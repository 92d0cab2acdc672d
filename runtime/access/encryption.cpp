#include "runtime/access/encryption.hpp"

#include "runtime/access/openssl_bytes.hpp"

#include <openssl/evp.h>

#include <algorithm>
#include <memory>
#include <stdexcept>

namespace millrace::access {
namespace {

struct cipher_free {
  void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
};

/// What OpenSSL counts in int.
constexpr std::size_t most_at_once = std::size_t{1} << 30;

/// One a thread: making it costs more than a small message.
EVP_CIPHER_CTX* context() {
  static thread_local const std::unique_ptr<EVP_CIPHER_CTX, cipher_free> made{EVP_CIPHER_CTX_new()};
  return made.get();
}

bool begin(const key256& once, int encrypts) {
  const unsigned char nonce[12] = {};
  return context() && EVP_CipherInit_ex(context(), EVP_aes_256_gcm(), nullptr, bytes_at(once.data()), nonce, encrypts);
}

bool convert(std::span<const std::byte> from, std::byte* to) {
  int written = 0;
  bool fine = true;
  for (std::size_t at = 0; fine && at < from.size(); at += most_at_once)
    fine = EVP_CipherUpdate(context(), bytes_at(to + at), &written, bytes_at(from.data() + at),
                            static_cast<int>(std::min(most_at_once, from.size() - at)));
  return fine;
}

} // namespace

void encrypt(const key256& once, std::span<const std::byte> plain, std::span<std::byte> to) {
  int written = 0;
  std::byte rest[tag_bytes];
  if (to.size() != plain.size() + tag_bytes)
    throw std::invalid_argument("encrypt: want room for the bytes and a tag");
  if (!begin(once, 1) || !convert(plain, to.data()) || !EVP_CipherFinal_ex(context(), bytes_at(rest), &written)
      || !EVP_CIPHER_CTX_ctrl(context(), EVP_CTRL_GCM_GET_TAG, tag_bytes, to.data() + plain.size()))
    throw std::runtime_error("OpenSSL offers no AES-256-GCM");
}

bool decrypt(const key256& once, std::span<const std::byte> encrypted, std::span<std::byte> to) {
  if (encrypted.size() < tag_bytes || to.size() != encrypted.size() - tag_bytes)
    return false;
  std::byte tag[tag_bytes], rest[tag_bytes];
  std::ranges::copy(encrypted.last(tag_bytes), tag);
  int written = 0;
  return begin(once, 0) && convert(encrypted.first(to.size()), to.data())
         && EVP_CIPHER_CTX_ctrl(context(), EVP_CTRL_GCM_SET_TAG, tag_bytes, tag)
         && EVP_CipherFinal_ex(context(), bytes_at(rest), &written);
}

} // namespace millrace::access
