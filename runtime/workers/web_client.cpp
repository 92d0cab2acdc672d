#include "runtime/workers/web_client.hpp"

#include "runtime/words/input_error.hpp"

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <optional>
#include <set>
#include <utility>
#include <vector>

namespace millrace::workers {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using tcp = asio::ip::tcp;

using answer_parser = http::response_parser<http::string_body>;

std::string words_of(const beast::error_code& error) {
  return error.message();
}

/// Whether the other side ended a connection that had been idle: it did not see the question.
bool is_closed(const beast::error_code& error) {
  return error == http::error::end_of_stream || error == asio::error::connection_reset || error == asio::error::eof
         || error == asio::error::broken_pipe || error == asio::ssl::error::stream_truncated;
}

/// Whether the answer is yet to come: "100 Continue", "103 Early Hints". Nobody asked for another protocol (101).
bool is_interim(unsigned status) {
  return status >= 100 && status < 200 && status != 101;
}

/// What an answer that is no success says of the question.
web_failure failure_of(unsigned status, const std::string& reason) {
  const std::string line = "the server answered " + std::to_string(status) + (reason.empty() ? "" : " " + reason);
  if (status >= 300 && status < 400)
    return {failure_kind::refused, line + ", and redirects are not followed", false};
  if (status >= 500)
    return {failure_kind::crash, line, true};
  return {failure_kind::refused, line, status == 408 || status == 425 || status == 429};
}

} // namespace

struct web_client::state {
  web_server server;
  asio::ssl::context tls{asio::ssl::context::tls_client};
  std::mutex lock;
  std::vector<std::unique_ptr<connection>> idle;
  std::set<connection*> used;
  std::atomic<bool> closed = false; ///< set before the loops of those that are used are stopped
};

/// One connection with an event loop of its own: whoever uses it runs the loop until its step is done or time is up.
struct web_client::connection {
  const std::atomic<bool>& closed;
  asio::io_context loop{1};
  std::optional<beast::ssl_stream<beast::tcp_stream>> secured;
  std::optional<beast::tcp_stream> plain;
  beast::flat_buffer buffer;
  bool goes_on = false;       ///< the server keeps it for the next question
  bool has_begun = false;     ///< the server said that it works on the question
  bool closed_unseen = false; ///< it ended without a byte of an answer

  explicit connection(const state& of) : closed(of.closed) {}

  beast::tcp_stream& lowest() { return secured ? beast::get_lowest_layer(*secured) : *plain; }

  /// Starts `step(handler)` and waits for its end. @returns its error; nothing where time was up first, or the client
  /// is closed
  template <class Step>
  std::optional<beast::error_code> done(time_point until, Step step) {
    if (closed)
      return std::nullopt;
    std::optional<beast::error_code> result;
    step([&result](const beast::error_code& error, auto&&...) { result = error; });
    loop.restart();
    if (!closed)
      loop.run_until(until);
    if (result)
      return result;
    lowest().close(); // the step's handler looks at `result`: it must run before this returns
    loop.restart();
    loop.run();
    return std::nullopt;
  }

  template <class Step>
  void need(time_point until, failure_kind kind, const std::string& what, Step step) {
    const auto error = done(until, std::move(step));
    if (!error)
      throw web_failure(failure_kind::timeout, "no answer before the deadline", false);
    if (*error)
      throw web_failure(kind, what + ": " + words_of(*error), true);
  }

  void open(state& of, time_point until);
  std::string ask(const web_server& server, const std::string& body, time_point until);

  template <class Stream>
  std::optional<beast::error_code> exchange(Stream& stream, http::request<http::string_body>& request,
                                            std::optional<answer_parser>& parser, time_point until) {
    auto error = done(until, [&](auto handler) { http::async_write(stream, request, std::move(handler)); });
    // A server may refuse what is too long for it before it has read all of it: what it says is worth reading.
    if (!error || (*error && !is_closed(*error)))
      return error;
    for (;; has_begun = true) {
      parser.emplace();
      parser->body_limit(longest_answer);
      // Read in one go, the body's limit would not hold for what arrives with the head (findings/beast-body-limit.sh).
      error = done(until, [&](auto handler) { http::async_read_header(stream, buffer, *parser, std::move(handler)); });
      if (!error || *error)
        return error;
      if (!is_interim(parser->get().result_int()))
        break;
    }
    return done(until, [&](auto handler) { http::async_read(stream, buffer, *parser, std::move(handler)); });
  }
};

void web_client::connection::open(state& of, time_point until) {
  const auto& address = of.server.address;
  if (address.secure)
    secured.emplace(loop, of.tls);
  else
    plain.emplace(loop);
  tcp::resolver resolver(loop);
  tcp::resolver::results_type found;
  need(until, failure_kind::refused, "cannot find " + address.host, [&](auto handler) {
    resolver.async_resolve(address.host, address.port, [&found, handler](const beast::error_code& error, auto results) {
      found = std::move(results);
      handler(error);
    });
  });
  need(until, failure_kind::refused, "cannot connect to " + address.authority(),
       [&](auto handler) { lowest().async_connect(found, std::move(handler)); });
  beast::error_code ignored;
  lowest().socket().set_option(tcp::no_delay(true), ignored);
  if (!secured)
    return;
  if (SSL_set_tlsext_host_name(secured->native_handle(), address.host.c_str()) != 1)
    throw web_failure(failure_kind::refused, "OpenSSL takes no server name", false);
  secured->set_verify_mode(asio::ssl::verify_peer);
  secured->set_verify_callback(asio::ssl::host_name_verification(address.host));
  need(until, failure_kind::refused, "no TLS with " + address.authority(),
       [&](auto handler) { secured->async_handshake(asio::ssl::stream_base::client, std::move(handler)); });
}

std::string web_client::connection::ask(const web_server& server, const std::string& body, time_point until) {
  http::request<http::string_body> request{http::verb::post, server.address.target, 11};
  request.set(http::field::host, server.address.authority());
  request.set(http::field::content_type, "application/json");
  request.set(http::field::accept, "application/json");
  if (!server.token.empty())
    request.set(http::field::authorization, "Bearer " + server.token);
  request.body() = body;
  request.prepare_payload();
  std::optional<answer_parser> parser;
  has_begun = false;
  const auto error = secured ? exchange(*secured, request, parser, until) : exchange(*plain, request, parser, until);
  if (!error)
    throw web_failure(failure_kind::timeout, "no answer before the deadline", false);
  if (*error == http::error::body_limit)
    throw web_failure(failure_kind::malformed, "an answer of more than " + std::to_string(longest_answer) + " bytes",
                      false);
  if (*error && !has_begun && !(parser && parser->got_some()) && is_closed(*error)) {
    closed_unseen = true;
    throw web_failure(failure_kind::crash, "the server closed the connection without an answer", true);
  }
  if (*error)
    throw web_failure(
        failure_kind::malformed,
        (is_closed(*error) || *error == http::error::partial_message ? "half an answer: " : "no HTTP answer: ")
            + words_of(*error),
        is_closed(*error) || *error == http::error::partial_message);
  auto& answer = parser->get();
  if (answer.result_int() < 200 || answer.result_int() >= 300)
    throw failure_of(answer.result_int(), std::string(answer.reason()).substr(0, 100));
  goes_on = answer.keep_alive();
  return std::move(answer.body());
}

web_client::web_client(web_server server) : state_(std::make_unique<state>()) {
  state_->server = std::move(server);
  if (!state_->server.address.secure)
    return;
  beast::error_code error;
  state_->tls.set_options(asio::ssl::context::default_workarounds | asio::ssl::context::no_tlsv1
                          | asio::ssl::context::no_tlsv1_1);
  if (state_->server.ca_file.empty())
    state_->tls.set_default_verify_paths(error);
  else
    state_->tls.load_verify_file(state_->server.ca_file.string(), error);
  if (error)
    throw input_error(state_->server.ca_file.string() + ": no certificates can be read: " + words_of(error));
}

web_client::~web_client() = default;

/// A connection whose loop is stopped when the client is closed.
class web_client::in_use {
public:
  in_use(state& of, connection& one) : of_(of), one_(one) {
    const std::lock_guard hold(of_.lock);
    of_.used.insert(&one_);
  }

  ~in_use() {
    const std::lock_guard hold(of_.lock);
    of_.used.erase(&one_);
  }

  in_use(const in_use&) = delete;
  in_use& operator=(const in_use&) = delete;

private:
  state& of_;
  connection& one_;
};

std::unique_ptr<web_client::connection> web_client::opened(time_point until) {
  auto fresh = std::make_unique<connection>(*state_);
  const in_use its_opening(*state_, *fresh);
  fresh->open(*state_, until);
  return fresh;
}

void web_client::close() {
  const std::lock_guard hold(state_->lock);
  state_->closed = true;
  for (auto* const one : state_->used)
    one->loop.stop();
}

void web_client::keep(std::unique_ptr<connection> healthy) {
  const std::lock_guard hold(state_->lock);
  state_->idle.push_back(std::move(healthy));
}

void web_client::connect(time_point until) {
  keep(opened(until));
}

std::string web_client::post(const std::string& body, time_point until) {
  for (;;) {
    std::unique_ptr<connection> mine;
    {
      const std::lock_guard hold(state_->lock);
      if (!state_->idle.empty()) {
        mine = std::move(state_->idle.back());
        state_->idle.pop_back();
      }
    }
    const bool was_idle = mine != nullptr;
    if (!mine)
      mine = opened(until);
    try {
      std::string answer;
      {
        const in_use its_question(*state_, *mine);
        answer = mine->ask(state_->server, body, until);
      }
      if (mine->goes_on)
        keep(std::move(mine));
      return answer;
    } catch (const web_failure&) {
      // A server closes what was idle for long, perhaps while the question was on its way: a new connection tells.
      if (!was_idle || !mine->closed_unseen)
        throw;
    }
  }
}

std::string bearer_token(const std::filesystem::path& file) {
  const auto refuse = [&](const std::string& why) { return input_error(file.string() + ": " + why); };
  const int opened = ::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (opened < 0)
    throw refuse(std::string("cannot read the token: ") + std::strerror(errno));

  struct stat about {};

  std::string token(4097, '\0');
  const bool is_file = ::fstat(opened, &about) == 0 && S_ISREG(about.st_mode);
  const auto bytes = is_file ? ::read(opened, token.data(), token.size()) : 0;
  ::close(opened);
  if (!is_file)
    throw refuse("not a file, want one with a token");
  if ((about.st_mode & S_IRWXO) != 0)
    throw refuse("everybody on this machine may read it, want a token that others cannot read (chmod o-rwx)");
  token.resize(static_cast<std::size_t>(std::max<ssize_t>(bytes, 0)));
  while (token.ends_with('\n') || token.ends_with('\r'))
    token.pop_back();
  if (token.empty() || token.size() > 4096
      || std::any_of(token.begin(), token.end(), [](unsigned char c) { return c <= ' ' || c >= 0x7f; }))
    throw refuse("want a token of 1 to 4096 letters, digits and signs, without spaces");
  return token;
}

} // namespace millrace::workers
