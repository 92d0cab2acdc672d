#include "runtime/cluster/actor_config.hpp"
#include "runtime/cluster/credentials.hpp"
#include "runtime/words/input_error.hpp"
#include "tests/support/eventually.hpp"

#include <arpa/inet.h>
#include <caf/all.hpp>
#include <caf/io/all.hpp>
#include <caf/openssl/all.hpp>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <memory>
#include <string>
#include <vector>

namespace credentials_test {

using namespace millrace;
using namespace millrace::cluster;

namespace {

root_key secret_of(char letter, std::size_t bytes = 32) {
  return root_of(std::vector<std::byte>(bytes, static_cast<std::byte>(letter)));
}

using certificate = std::unique_ptr<X509, decltype(&X509_free)>;

certificate read_certificate(const std::filesystem::path& path) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> file(BIO_new_file(path.c_str(), "r"), BIO_free);
  REQUIRE(file);
  return {PEM_read_bio_X509(file.get(), nullptr, nullptr, nullptr), X509_free};
}

/// Whether a process that trusts `authority` accepts `leaf` for the given purpose.
bool accepts(const tls_files& authority, const tls_files& leaf, int purpose) {
  const auto ca = read_certificate(authority.ca), own = read_certificate(leaf.certificate);
  const std::unique_ptr<X509_STORE, decltype(&X509_STORE_free)> store(X509_STORE_new(), X509_STORE_free);
  const std::unique_ptr<X509_STORE_CTX, decltype(&X509_STORE_CTX_free)> check(X509_STORE_CTX_new(),
                                                                              X509_STORE_CTX_free);
  X509_STORE_add_cert(store.get(), ca.get());
  X509_STORE_CTX_init(check.get(), store.get(), own.get(), nullptr);
  X509_STORE_CTX_set_purpose(check.get(), purpose);
  return X509_verify_cert(check.get()) == 1;
}

/// Where a file lies: of one in memory `/memfd:<name> (deleted)`; "" if it is gone.
std::string place_of(const std::filesystem::path& file) {
  std::error_code gone;
  return std::filesystem::read_symlink(file, gone).string();
}

/// A file of its own in a folder of its own, gone with this object.
struct secret_file {
  explicit secret_file(std::size_t bytes, mode_t mode = 0600) {
    folder = std::filesystem::temp_directory_path() / ("millrace-credentials-test-" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder);
    path = folder / "secret";
    std::ofstream(path) << std::string(bytes, 'x');
    REQUIRE(::chmod(path.c_str(), mode) == 0);
  }

  ~secret_file() { std::filesystem::remove_all(folder); }

  std::filesystem::path folder, path;
};

std::string refusal_of(const std::filesystem::path& path) {
  try {
    root_of_file(path);
  } catch (const input_error& error) {
    return error.what();
  }
  return "accepted";
}

/// An actor system with somebody's credentials, or none.
struct node {
  explicit node(const tls_files* files) : config(options_of(files)), system(config) {}

  static actor_options options_of(const tls_files* files) {
    actor_options options;
    if (files != nullptr)
      options.tls = *files;
    return options;
  }

  /// What the actor published on `port` answers to 41, or why it does not.
  std::string ask(std::uint16_t port, bool encrypted) {
    const auto remote = encrypted ? caf::openssl::remote_actor<caf::actor>(system, "127.0.0.1", port)
                                  : system.middleman().remote_actor("127.0.0.1", port);
    if (!remote)
      return "no connection";
    caf::scoped_actor self(system);
    std::string answer = "none";
    self->request(*remote, std::chrono::seconds(10), std::int32_t{41})
        .receive([&](std::int32_t number) { answer = std::to_string(number); },
                 [&](caf::error& e) { answer = system.render(e); });
    return answer;
  }

  actor_config config;
  caf::actor_system system;
};

/// Connects and says something that is no TLS. Returns once the other side has hung up.
void speak_plainly(std::uint16_t port) {
  const int stranger = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in where{};
  where.sin_family = AF_INET;
  where.sin_port = htons(port);
  where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  REQUIRE(::connect(stranger, reinterpret_cast<const sockaddr*>(&where), sizeof where) == 0);
  constexpr std::string_view words = "GET / HTTP/1.0\r\n\r\n";
  REQUIRE(::send(stranger, words.data(), words.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(words.size()));
  char answer[64];
  while (::recv(stranger, answer, sizeof answer, 0) > 0)
    ;
  ::close(stranger);
}

} // namespace

TEST_CASE("who holds the same secret is trusted as client and server; who holds another is not") {
  const credentials a(secret_of('a')), also_a(secret_of('a')), b(secret_of('b')), longer(secret_of('a', 33));
  for (const int purpose : {X509_PURPOSE_SSL_CLIENT, X509_PURPOSE_SSL_SERVER}) {
    CHECK(accepts(a.files(), a.files(), purpose));
    CHECK(accepts(a.files(), also_a.files(), purpose));
    CHECK(accepts(also_a.files(), a.files(), purpose));
    CHECK_FALSE(accepts(a.files(), b.files(), purpose));
    CHECK_FALSE(accepts(b.files(), a.files(), purpose));
    CHECK_FALSE(accepts(a.files(), longer.files(), purpose));
  }
}

TEST_CASE("the authority's key depends on the secret only, the leaf's on nothing") {
  const credentials a(secret_of('a')), also_a(secret_of('a'));
  const auto key_of = [](const std::filesystem::path& path) {
    const auto c = read_certificate(path);
    return std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>(X509_get_pubkey(c.get()), EVP_PKEY_free);
  };
  CHECK(EVP_PKEY_eq(key_of(a.files().ca).get(), key_of(also_a.files().ca).get()) == 1);
  CHECK(EVP_PKEY_eq(key_of(a.files().certificate).get(), key_of(also_a.files().certificate).get()) != 1);
}

TEST_CASE("the files lie in memory, as nobody can change them, and go with their owner") {
  tls_files files;
  {
    const credentials made(secret_of('a'));
    files = made.files();
    CHECK(place_of(files.certificate) == "/memfd:certificate (deleted)");
    CHECK(place_of(files.key) == "/memfd:key (deleted)");
    CHECK(place_of(files.ca) == "/memfd:ca (deleted)");
    const int number = std::stoi(files.key.filename().string());
    CHECK(::fcntl(number, F_GETFD) == FD_CLOEXEC); // no child has it
    CHECK(::write(number, "x", 1) == -1);
    CHECK(accepts(made.files(), made.files(), X509_PURPOSE_SSL_SERVER));
  }
  for (const auto& file : {files.key, files.certificate, files.ca})
    CHECK(place_of(file).find("memfd") == std::string::npos);
}

TEST_CASE("a secret file that will not do is refused in one line that names it") {
  CHECK(refusal_of("/nonexistent/secret") == "/nonexistent/secret: cannot read the secret: No such file or directory");
  const auto folder = std::filesystem::temp_directory_path();
  CHECK(refusal_of(folder) == folder.string() + ": not a file, want a file with a secret of at least 32 bytes");
  {
    const secret_file empty(0);
    CHECK(refusal_of(empty.path) == empty.path.string() + ": a secret of 0 bytes, want at least 32");
  }
  {
    const secret_file shorter(31);
    CHECK(refusal_of(shorter.path) == shorter.path.string() + ": a secret of 31 bytes, want at least 32");
  }
  {
    const secret_file huge((1 << 20) + 1);
    CHECK(refusal_of(huge.path) == huge.path.string() + ": a secret of more than 1 MiB");
  }
  {
    const secret_file open(32, 0604);
    CHECK(refusal_of(open.path).find("want a secret that others cannot read") != std::string::npos);
  }
  {
    const secret_file zeros(32);
    std::ofstream(zeros.path) << std::string(64, '\0');
    CHECK(refusal_of(zeros.path).find("nothing but zeros") != std::string::npos);
  }
  const secret_file fine(32, 0640);
  CHECK(refusal_of(fine.path) == "accepted");
  CHECK_THROWS_AS(secret_of('a', 31), std::invalid_argument);
}

TEST_CASE("a certificate lives for twelve hours") {
  const credentials made(secret_of('a'));
  for (const auto& file : {made.files().certificate, made.files().ca}) {
    const auto certificate = read_certificate(file);
    int days = 0, seconds = 0;
    REQUIRE(ASN1_TIME_diff(&days, &seconds, nullptr, X509_get0_notAfter(certificate.get())) == 1);
    CHECK(days == 0);
    CHECK(seconds <= 12 * 3600);
    CHECK(seconds > 12 * 3600 - 60);
  }
}

TEST_CASE("before a certificate ends, a new one for the same key is under the same path, and peers take it") {
  const credentials peer(secret_of('a')), made(secret_of('a'), std::chrono::seconds(3));
  const auto serial = [&] {
    const auto certificate = read_certificate(made.files().certificate);
    return ASN1_INTEGER_get(X509_get0_serialNumber(certificate.get()));
  };
  const auto first = serial();
  const auto before = read_certificate(made.files().certificate);
  REQUIRE(tests::eventually([&] { return serial() != first; }));
  CHECK(EVP_PKEY_eq(X509_get0_pubkey(read_certificate(made.files().certificate).get()), X509_get0_pubkey(before.get()))
        == 1);
  CHECK(accepts(peer.files(), made.files(), X509_PURPOSE_SSL_SERVER));
  CHECK(accepts(made.files(), peer.files(), X509_PURPOSE_SSL_CLIENT));
}

TEST_CASE("a file gives the root of its bytes, of which every one counts") {
  const secret_file file(40);
  CHECK(root_of_file(file.path) == secret_of('x', 40));
  CHECK(root_of_file(file.path) != secret_of('x', 41));
}

TEST_CASE("holders of one secret have one connection key, and of two secrets two") {
  const credentials a(secret_of('a')), also_a(secret_of('a')), b(secret_of('b'));
  CHECK(a.connection_key() == also_a.connection_key());
  CHECK(a.connection_key() != b.connection_key());
}

TEST_CASE("actor systems talk over TLS with the same secret; another secret and a plain client are turned away") {
  const credentials a(secret_of('a')), also_a(secret_of('a')), b(secret_of('b'));
  node server(&a.files());
  const auto echo = server.system.spawn([]() -> caf::behavior { return {[](std::int32_t x) { return x + 1; }}; });
  const auto port = caf::openssl::publish(echo, 0, "127.0.0.1");
  REQUIRE(port);
  CHECK(node(&also_a.files()).ask(*port, true) == "42");
  CHECK(node(&b.files()).ask(*port, true) == "no connection");
  CHECK(node(nullptr).ask(*port, false) == "no connection");
  CHECK(node(&also_a.files()).ask(*port, true) == "42");
  caf::anon_send_exit(echo, caf::exit_reason::user_shutdown);
}

TEST_CASE("a stranger who is refused disturbs no connection that stands") {
  const credentials a(secret_of('a')), also_a(secret_of('a'));
  node server(&a.files()), client(&also_a.files());
  const auto echo = server.system.spawn([]() -> caf::behavior { return {[](std::int32_t x) { return x + 1; }}; });
  const auto port = caf::openssl::publish(echo, 0, "127.0.0.1");
  REQUIRE(port);
  const auto remote = caf::openssl::remote_actor<caf::actor>(client.system, "127.0.0.1", *port);
  REQUIRE(remote);
  caf::scoped_actor self(client.system);
  self->monitor(*remote);
  for (int visit = 0; visit < 10; ++visit) {
    CAPTURE(visit);
    speak_plainly(*port);
    std::string answer = "none";
    self->request(*remote, std::chrono::seconds(5), std::int32_t{41})
        .receive([&](std::int32_t number) { answer = std::to_string(number); },
                 [&](caf::error& e) { answer = client.system.render(e); });
    REQUIRE(answer == "42");
  }
  CHECK(self->mailbox().empty()); // no word that the connection was lost
  caf::anon_send_exit(echo, caf::exit_reason::user_shutdown);
}

} // namespace credentials_test
