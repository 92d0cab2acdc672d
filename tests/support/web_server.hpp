#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace millrace::tests {

/// A certificate for one host name that vouches for itself, and its key; PEM.
struct test_certificate {
  std::string certificate, key;

  explicit test_certificate(const std::string& host) {
    const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> pair(EVP_EC_gen("P-256"), EVP_PKEY_free);
    const std::unique_ptr<X509, decltype(&X509_free)> made(X509_new(), X509_free);
    X509_set_version(made.get(), 2);
    ASN1_INTEGER_set(X509_get_serialNumber(made.get()), 1);
    X509_gmtime_adj(X509_getm_notBefore(made.get()), -3600);
    X509_gmtime_adj(X509_getm_notAfter(made.get()), 3600);
    X509_set_pubkey(made.get(), pair.get());
    X509_NAME* const name = X509_get_subject_name(made.get());
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>(host.c_str()), -1, -1,
                               0);
    X509_set_issuer_name(made.get(), name);
    X509_EXTENSION* const names = X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, ("DNS:" + host).c_str());
    X509_add_ext(made.get(), names, -1);
    X509_EXTENSION_free(names);
    X509_sign(made.get(), pair.get(), EVP_sha256());
    certificate = written([&](BIO* to) { PEM_write_bio_X509(to, made.get()); });
    key = written([&](BIO* to) { PEM_write_bio_PrivateKey(to, pair.get(), nullptr, nullptr, 0, nullptr, nullptr); });
  }

private:
  template <class Write>
  static std::string written(Write write) {
    const std::unique_ptr<BIO, decltype(&BIO_free)> memory(BIO_new(BIO_s_mem()), BIO_free);
    write(memory.get());
    char* bytes = nullptr;
    const auto count = BIO_get_mem_data(memory.get(), &bytes);
    return {bytes, static_cast<std::size_t>(count)};
  }
};

/// What a `test_server` does with a request.
struct test_reply {
  unsigned status = 200;
  std::string body = {};
  std::string location = {}; ///< of a redirect
  std::string raw = {};      ///< these bytes and the connection's end, instead of the rest
  bool hangs = false;        ///< nothing more until the server ends
  bool closes = false;       ///< the connection ends behind the answer, without having said so
};

struct test_request {
  std::string target, body, authorization;
};

/// An HTTP server on loopback that answers as `what` says. One thread a connection; the destructor ends them all.
class test_server {
public:
  using behaviour = std::function<test_reply(const test_request&)>;

  explicit test_server(behaviour what, const test_certificate* certificate = nullptr)
      : what_(std::move(what)), acceptor_(loop_, {boost::asio::ip::address_v4::loopback(), 0}) {
    if (certificate) {
      tls_.emplace(boost::asio::ssl::context::tls_server);
      tls_->use_certificate(boost::asio::buffer(certificate->certificate), boost::asio::ssl::context::pem);
      tls_->use_private_key(boost::asio::buffer(certificate->key), boost::asio::ssl::context::pem);
    }
    threads_.emplace_back([this] { accept(); });
  }

  ~test_server() {
    {
      const std::lock_guard hold(lock_);
      stopping_ = true;
      stopped_.notify_all();
      for (const int socket : sockets_)
        ::shutdown(socket, SHUT_RDWR);
    }
    ::shutdown(acceptor_.native_handle(), SHUT_RDWR);
    threads_.front().join(); // no thread begins any more
    for (std::size_t i = 1; i < threads_.size(); ++i)
      threads_[i].join();
  }

  test_server(const test_server&) = delete;
  test_server& operator=(const test_server&) = delete;

  unsigned port() const { return acceptor_.local_endpoint().port(); }

  /// http://127.0.0.1:PORT/score, or https://localhost:PORT/score
  std::string url() const {
    return (tls_ ? "https://localhost:" : "http://127.0.0.1:") + std::to_string(port()) + "/score";
  }

  int connections() const { return connections_; }

  int requests() const { return requests_; }

private:
  using tcp = boost::asio::ip::tcp;

  void accept() {
    for (;;) {
      boost::system::error_code error;
      auto socket = std::make_shared<tcp::socket>(loop_);
      acceptor_.accept(*socket, error);
      const std::lock_guard hold(lock_);
      if (error || stopping_)
        return;
      ++connections_;
      sockets_.push_back(socket->native_handle());
      threads_.emplace_back([this, socket] {
        talk(*socket);
        const std::lock_guard done(lock_);
        ::shutdown(socket->native_handle(),
                   SHUT_RDWR); // closed with the server: its number must not be used again before
        kept_.push_back(std::move(*socket));
      });
    }
  }

  void talk(tcp::socket& socket) {
    if (!tls_)
      return serve(socket);
    boost::asio::ssl::stream<tcp::socket&> secured(socket, *tls_);
    boost::system::error_code failed;
    secured.handshake(boost::asio::ssl::stream_base::server, failed);
    if (!failed)
      serve(secured);
  }

  template <class Stream>
  void serve(Stream& stream) {
    namespace http = boost::beast::http;
    boost::beast::flat_buffer buffer;
    for (;;) {
      http::request<http::string_body> request;
      boost::system::error_code error;
      http::read(stream, buffer, request, error);
      if (error)
        break;
      ++requests_;
      const auto text = [](boost::beast::string_view view) { return std::string(view.data(), view.size()); };
      const auto reply = what_({text(request.target()), request.body(), text(request[http::field::authorization])});
      if (!reply.raw.empty())
        boost::asio::write(stream, boost::asio::buffer(reply.raw), error);
      if (reply.hangs) {
        std::unique_lock hold(lock_);
        stopped_.wait(hold, [&] { return stopping_; });
        break;
      }
      if (!reply.raw.empty())
        break;
      http::response<http::string_body> answer{static_cast<http::status>(reply.status), 11, reply.body};
      if (!reply.location.empty())
        answer.set(http::field::location, reply.location);
      answer.prepare_payload();
      http::write(stream, answer, error);
      if (error || reply.closes)
        break;
    }
  }

  behaviour what_;
  boost::asio::io_context loop_;
  tcp::acceptor acceptor_;
  std::optional<boost::asio::ssl::context> tls_;
  std::mutex lock_;
  std::condition_variable stopped_;
  bool stopping_ = false;
  std::vector<int> sockets_;
  std::vector<tcp::socket> kept_;
  std::vector<std::thread> threads_;
  std::atomic<int> connections_ = 0, requests_ = 0;
};

} // namespace millrace::tests
