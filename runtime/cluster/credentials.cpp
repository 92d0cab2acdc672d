#include "runtime/cluster/credentials.hpp"

#include "runtime/words/input_error.hpp"

#include <fcntl.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

namespace millrace::cluster {
namespace {

constexpr std::size_t least_secret_bytes = 32, most_secret_bytes = std::size_t{1} << 20;

template <auto release>
struct releaser {
  template <class T>
  void operator()(T* p) const {
    release(p);
  }
};
template <class T, auto release>
using owned = std::unique_ptr<T, releaser<release>>;

using owned_key = owned<EVP_PKEY, EVP_PKEY_free>;
using owned_certificate = owned<X509, X509_free>;

/// OpenSSL says 1 (or a pointer) when it did what was asked.
void need(bool done, const char* what) {
  if (!done)
    throw std::runtime_error(std::string("OpenSSL cannot ") + what);
}

std::vector<std::byte> read_secret(const std::filesystem::path& path) {
  const auto refuse = [&](const std::string& why) { return input_error(path.string() + ": " + why); };
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0)
    throw refuse(std::string("cannot read the secret: ") + std::strerror(errno));

  struct close_file {
    int file;

    ~close_file() { ::close(file); }
  } const closer{file};

  struct stat about {};

  if (::fstat(file, &about) != 0 || !S_ISREG(about.st_mode))
    throw refuse("not a file, want a file with a secret of at least 32 bytes");
  if ((about.st_mode & S_IRWXO) != 0)
    throw refuse("everybody on this machine may use it, want a secret that others cannot read (chmod o-rwx)");
  std::vector<std::byte> secret(most_secret_bytes + 1);
  std::size_t bytes = 0;
  for (ssize_t got = 1; got > 0 && bytes < secret.size(); bytes += static_cast<std::size_t>(std::max<ssize_t>(got, 0)))
    if ((got = ::read(file, secret.data() + bytes, secret.size() - bytes)) < 0)
      throw refuse(std::string("cannot read the secret: ") + std::strerror(errno));
  if (bytes < least_secret_bytes)
    throw refuse("a secret of " + std::to_string(bytes) + " bytes, want at least 32");
  if (bytes > most_secret_bytes)
    throw refuse("a secret of more than 1 MiB");
  secret.resize(bytes);
  if (std::all_of(secret.begin(), secret.end(), [](std::byte byte) { return byte == std::byte{0}; }))
    throw refuse("nothing but zeros, want random bytes (head -c 32 /dev/urandom)");
  return secret;
}

/// HKDF-SHA256 (RFC 5869) with `info` and no salt.
std::array<unsigned char, 48> derive(std::span<const std::byte> secret, const char* info) {
  const owned<EVP_KDF, EVP_KDF_free> algorithm(EVP_KDF_fetch(nullptr, "HKDF", nullptr));
  const owned<EVP_KDF_CTX, EVP_KDF_CTX_free> context(EVP_KDF_CTX_new(algorithm.get()));
  char digest[] = "SHA256";
  const OSSL_PARAM parameters[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, const_cast<std::byte*>(secret.data()), secret.size()),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, const_cast<char*>(info), std::strlen(info)),
      OSSL_PARAM_construct_end()};
  std::array<unsigned char, 48> out{};
  need(context && EVP_KDF_derive(context.get(), out.data(), out.size(), parameters) == 1, "derive a key (HKDF)");
  return out;
}

/// The P-256 key whose private number is 1 + (derived mod (order - 1)): 48 bytes make the bias 2^-128 (FIPS 186-4,
/// B.4.1).
owned_key authority_key(std::span<const std::byte> secret) {
  const owned<EC_GROUP, EC_GROUP_free> group(EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1));
  const owned<BN_CTX, BN_CTX_free> context(BN_CTX_new());
  const auto seed = derive(secret, "millrace certificate authority 1");
  const owned<BIGNUM, BN_clear_free> number(BN_bin2bn(seed.data(), static_cast<int>(seed.size()), nullptr));
  const owned<BIGNUM, BN_free> range(BN_dup(EC_GROUP_get0_order(group.get())));
  need(number && range && BN_sub_word(range.get(), 1) && BN_mod(number.get(), number.get(), range.get(), context.get())
           && BN_add_word(number.get(), 1),
       "compute the authority's key");
  const owned<EC_POINT, EC_POINT_free> point(EC_POINT_new(group.get()));
  unsigned char encoded[65];
  need(EC_POINT_mul(group.get(), point.get(), number.get(), nullptr, nullptr, context.get()) == 1
           && EC_POINT_point2oct(group.get(), point.get(), POINT_CONVERSION_UNCOMPRESSED, encoded, sizeof encoded,
                                 context.get())
                  == sizeof encoded,
       "compute the authority's public key");
  const owned<OSSL_PARAM_BLD, OSSL_PARAM_BLD_free> build(OSSL_PARAM_BLD_new());
  need(OSSL_PARAM_BLD_push_utf8_string(build.get(), OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) == 1
           && OSSL_PARAM_BLD_push_BN(build.get(), OSSL_PKEY_PARAM_PRIV_KEY, number.get()) == 1
           && OSSL_PARAM_BLD_push_octet_string(build.get(), OSSL_PKEY_PARAM_PUB_KEY, encoded, sizeof encoded) == 1,
       "describe the authority's key");
  const owned<OSSL_PARAM, OSSL_PARAM_free> parameters(OSSL_PARAM_BLD_to_param(build.get()));
  const owned<EVP_PKEY_CTX, EVP_PKEY_CTX_free> maker(EVP_PKEY_CTX_new_from_name(nullptr, "EC", nullptr));
  EVP_PKEY* key = nullptr;
  need(EVP_PKEY_fromdata_init(maker.get()) == 1
           && EVP_PKEY_fromdata(maker.get(), &key, EVP_PKEY_KEYPAIR, parameters.get()) == 1,
       "make the authority's key");
  return owned_key(key);
}

void add_extension(X509* certificate, X509* issuer, int kind, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const owned<X509_EXTENSION, X509_EXTENSION_free> extension(X509V3_EXT_conf_nid(nullptr, &context, kind, value));
  need(extension && X509_add_ext(certificate, extension.get(), -1) == 1, "add a certificate extension");
}

/// A certificate for `key`, signed by `issuer_key`; `issuer` is null for the authority itself.
owned_certificate certificate_for(const char* name, EVP_PKEY* key, X509* issuer, EVP_PKEY* issuer_key,
                                  std::chrono::seconds life) {
  owned_certificate certificate(X509_new());
  X509* c = certificate.get();
  std::uint64_t serial = 1;
  if (issuer != nullptr)
    need(RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof serial) == 1, "draw a serial number");
  constexpr long day_s = 24 * 3600;
  need(c && X509_set_version(c, X509_VERSION_3) == 1
           && ASN1_INTEGER_set_uint64(X509_get_serialNumber(c), serial | 1) == 1
           && X509_gmtime_adj(X509_getm_notBefore(c), -day_s) && X509_gmtime_adj(X509_getm_notAfter(c), life.count())
           && X509_set_pubkey(c, key) == 1
           && X509_NAME_add_entry_by_txt(X509_get_subject_name(c), "CN", MBSTRING_ASC,
                                         reinterpret_cast<const unsigned char*>(name), -1, -1, 0)
                  == 1
           && X509_set_issuer_name(c, X509_get_subject_name(issuer ? issuer : c)) == 1,
       "fill in a certificate");
  X509* signer = issuer ? issuer : c;
  add_extension(c, signer, NID_basic_constraints, issuer ? "critical,CA:FALSE" : "critical,CA:TRUE,pathlen:0");
  add_extension(c, signer, NID_key_usage, issuer ? "critical,digitalSignature" : "critical,keyCertSign");
  add_extension(c, signer, NID_subject_key_identifier, "hash");
  if (issuer != nullptr) {
    add_extension(c, signer, NID_authority_key_identifier, "keyid:always");
    add_extension(c, signer, NID_ext_key_usage, "serverAuth,clientAuth");
  }
  need(X509_sign(c, issuer_key, EVP_sha256()) > 0, "sign a certificate");
  return certificate;
}

/// What `write` writes, as PEM.
template <class Write>
std::string pem(Write write) {
  const owned<BIO, BIO_free> memory(BIO_new(BIO_s_mem()));
  need(memory && write(memory.get()) == 1, "encode PEM");
  char* text = nullptr;
  const long bytes = BIO_get_mem_data(memory.get(), &text);
  return {text, static_cast<std::size_t>(bytes)};
}

} // namespace

root_key root_of(std::span<const std::byte> secret) {
  if (secret.size() < least_secret_bytes)
    throw std::invalid_argument("secret: " + std::to_string(secret.size()) + " bytes, want at least 32");
  root_key root;
  const auto derived = derive(secret, "millrace root 1");
  std::memcpy(root.bytes.data(), derived.data(), root.bytes.size());
  return root;
}

root_key root_of_file(const std::filesystem::path& secret_file) {
  return root_of(read_secret(secret_file));
}

struct credentials::signer {
  using key = std::unique_ptr<EVP_PKEY, void (*)(EVP_PKEY*)>;
  key authority, own;
};

credentials::credentials(const root_key& root, std::chrono::seconds life) : life_(life) {
  signer_ = std::make_unique<const signer>(signer{.authority = {authority_key(root.bytes).release(), EVP_PKEY_free},
                                                  .own = {EVP_EC_gen("prime256v1"), EVP_PKEY_free}});
  need(signer_->own != nullptr, "make a key");
  key_ = {"key", pem([&](BIO* to) {
            return PEM_write_bio_PrivateKey(to, signer_->own.get(), nullptr, nullptr, 0, nullptr, nullptr);
          })};
  certificate_ = {"certificate", ""};
  ca_ = {"ca", ""};
  certify();
  files_ = {certificate_.path(), key_.path(), ca_.path()};
  const auto derived = derive(root.bytes, "millrace connection 1");
  std::memcpy(connection_key_.data(), derived.data(), connection_key_.size());
  renewal_ = std::thread([this] { keep_fresh(); });
}

credentials::~credentials() {
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
  }
  ending_.notify_all();
  renewal_.join();
}

void credentials::certify() {
  auto* authority = signer_->authority.get();
  const auto ca = certificate_for("millrace authority", authority, nullptr, authority, life_);
  const auto leaf = certificate_for("millrace", signer_->own.get(), ca.get(), authority, life_);
  ca_.replace("ca", pem([&](BIO* to) { return PEM_write_bio_X509(to, ca.get()); }));
  certificate_.replace("certificate", pem([&](BIO* to) { return PEM_write_bio_X509(to, leaf.get()); }));
}

void credentials::keep_fresh() {
  std::unique_lock lock(mutex_);
  while (!ending_.wait_for(lock, life_ / 3, [this] { return ended_; }))
    try {
      certify();
    } catch (const std::exception&) {
      // The certificate at hand lives on for two thirds of its life, and the next attempt is soon.
    }
}

credentials::memory_file::memory_file(const char* name, std::string_view text)
    : number_(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING)) {
  constexpr int sealed = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;
  if (number_ >= 0 && ::write(number_, text.data(), text.size()) == static_cast<ssize_t>(text.size())
      && ::fcntl(number_, F_ADD_SEALS, sealed) == 0)
    return;
  const std::string why = std::strerror(errno);
  if (number_ >= 0)
    ::close(number_);
  throw std::runtime_error("TLS " + std::string(name) + ": cannot write it to memory: " + why);
}

credentials::memory_file::~memory_file() {
  if (number_ >= 0)
    ::close(number_);
}

void credentials::memory_file::replace(const char* name, std::string_view text) {
  const memory_file fresh(name, text);
  if (::dup3(fresh.number_, number_, O_CLOEXEC) != number_)
    throw std::runtime_error("TLS " + std::string(name) + ": cannot put it in place: " + std::strerror(errno));
}

std::filesystem::path credentials::memory_file::path() const {
  return "/proc/self/fd/" + std::to_string(number_);
}

} // namespace millrace::cluster
