#include "runtime/access/hmac.hpp"

#include "runtime/access/openssl_bytes.hpp"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include <memory>
#include <stdexcept>

namespace millrace::access {
namespace {

struct mac_free {
  void operator()(EVP_MAC* mac) const { EVP_MAC_free(mac); }

  void operator()(EVP_MAC_CTX* context) const { EVP_MAC_CTX_free(context); }
};

} // namespace

mac256 hmac_sha256(std::span<const std::byte> key, std::span<const std::span<const std::byte>> message) {
  static const std::unique_ptr<EVP_MAC, mac_free> algorithm{EVP_MAC_fetch(nullptr, "HMAC", nullptr)};
  const std::unique_ptr<EVP_MAC_CTX, mac_free> context{EVP_MAC_CTX_new(algorithm.get())};
  char digest[] = "SHA256";
  const OSSL_PARAM parameters[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                                   OSSL_PARAM_construct_end()};
  const std::byte no_key{};
  bool fine =
      context && EVP_MAC_init(context.get(), bytes_at(key.empty() ? &no_key : key.data()), key.size(), parameters);
  for (const auto piece : message)
    fine = fine && EVP_MAC_update(context.get(), bytes_at(piece.data()), piece.size());
  mac256 mac{};
  std::size_t written = 0;
  fine = fine && EVP_MAC_final(context.get(), bytes_at(mac.data()), &written, mac.size());
  if (!fine || written != mac.size())
    throw std::runtime_error("OpenSSL offers no HMAC-SHA256");
  return mac;
}

mac256 hmac_sha256(std::span<const std::byte> key, std::span<const std::byte> message) {
  return hmac_sha256(key, std::span<const std::span<const std::byte>>(&message, 1));
}

bool same_mac(const mac256& a, const mac256& b) {
  return CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

} // namespace millrace::access
