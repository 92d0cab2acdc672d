#include "runtime/watch/server.hpp"

#include "runtime/access/web_listener.hpp"
#include "runtime/formats/strict_json.hpp"
#include "runtime/telemetry/printed.hpp"
#include "runtime/watch/connection.hpp"
#include "runtime/watch/memory.hpp"
#include "runtime/watch/page.hpp"
#include "runtime/watch/prometheus.hpp"
#include "runtime/words/no_signals.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <random>
#include <thread>

namespace millrace::watch {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using tcp = asio::ip::tcp;
using response = answerer::response;

std::string fresh_nonce() {
  std::random_device random;
  return telemetry::printed("%08x%08x%08x%08x", random(), random(), random(), random());
}

response made(http::status status, const std::string& type, std::string body) {
  response r(status, 11);
  r.set(http::field::content_type, type);
  r.set(http::field::cache_control, "no-store");
  r.set("X-Content-Type-Options", "nosniff");
  r.set("Referrer-Policy", "no-referrer");
  r.set("X-Frame-Options", "DENY");
  r.set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'");
  r.body() = std::move(body);
  return r;
}

response plain(http::status status, const std::string& line) {
  return made(status, "text/plain; charset=utf-8", line + "\n");
}

} // namespace

class server::state : public answerer {
public:
  explicit state(server_options options)
      : options_(std::move(options)), gate_(options_.at, options_.token), listener_(loop_, options_.at, 128),
        tick_(loop_) {}

  ~state() override { stop(); }

  void start(std::function<std::filesystem::path()> folder) {
    reader_.emplace(std::move(folder));
    const no_signals quiet;
    thread_ = std::thread([this] { run(); });
  }

  void stop() {
    loop_.stop();
    if (thread_.joinable())
      thread_.join();
    for (auto* list : {&asking_, &streams_})
      while (!list->empty())
        std::shared_ptr<connection>(list->front())->close();
  }

  std::uint16_t port() const { return listener_.port(); }

  const listen_address& at() const { return options_.at; }

  response answer(const request_facts& request) override {
    if (const auto refused = gate_.refuses(request)) {
      auto r = plain(static_cast<http::status>(refused->status), refused->why);
      if (refused->status == 401)
        r.set(http::field::www_authenticate, "Bearer");
      if (refused->status == 405)
        r.set(http::field::allow, "GET, HEAD");
      return r;
    }
    if (gate_.opens(request)) {
      auto r = plain(http::status::see_other, "go on at /");
      r.set(http::field::location, "/");
      r.set(http::field::set_cookie, gate_.cookie());
      return r;
    }
    return route(request.target.substr(0, request.target.find('?')));
  }

  response refuse(http::status status, const std::string& why) override { return plain(status, why); }

  bool begins_stream(const request_facts& request, const std::shared_ptr<connection>& from) override {
    if (request.target != "/events" || request.method != "GET" || gate_.refuses(request)
        || streams_.size() >= options_.streams)
      return false;
    streams_.splice(streams_.end(), asking_, from->place);
    from->begin_stream();
    return true;
  }

  void forget(const connection& closed) override {
    auto& list = closed.is_stream ? streams_ : asking_;
    list.erase(closed.place);
  }

private:
  void run() {
    pthread_setname_np(pthread_self(), "watch");
    ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), 10); // of this thread alone, on Linux
    look();
    listener_.start([this](tcp::socket socket) { greet(std::move(socket)); });
    loop_.run();
  }

  response route(std::string_view path) {
    if (path == "/healthz")
      return plain(http::status::ok, "ok");
    if (path == "/events")
      return plain(http::status::service_unavailable, "as many readers as there may be are connected");
    reader_->poll();
    const auto& view = reader_->view();
    if (path == "/status.json")
      return view.status ? made(http::status::ok, "application/json", telemetry::to_json(*view.status))
                         : plain(http::status::service_unavailable, "the run has written no status yet");
    if (path == "/metrics")
      return made(http::status::ok, "text/plain; version=0.0.4; charset=utf-8", prometheus_text(view, gpus_in_use()));
    if (path == "/graph.svg")
      return made(http::status::ok, "image/svg+xml", graph_in_svg(view));
    if (path != "/")
      return plain(http::status::not_found, "want /, /metrics, /status.json or /healthz");
    parts_.update(view);
    const auto nonce = fresh_nonce();
    auto r = made(http::status::ok, "text/html; charset=utf-8", page(parts_.all(), nonce));
    r.set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; connect-src 'self'; "
                                     "img-src 'self' data:; base-uri 'none'; form-action 'none'; script-src 'nonce-"
                                         + nonce + "'");
    return r;
  }

  void greet(tcp::socket socket) {
    if (asking_.size() >= options_.connections)
      std::shared_ptr<connection>(asking_.front())->close();
    const auto made_now = std::make_shared<connection>(
        std::move(socket), *this, connection::deadlines{.patience = options_.patience, .idle = options_.idle});
    made_now->place = asking_.insert(asking_.end(), made_now);
    made_now->start();
  }

  /// Looks at the run's records, and tells every stream which parts of the page are new. Without readers nobody looks.
  void look() {
    if (!streams_.empty()) {
      reader_->poll();
      parts_.update(reader_->view());
      tell();
    }
    tick_.expires_after(options_.period);
    tick_.async_wait([this](boost::system::error_code stopped) {
      if (!stopped)
        look();
    });
  }

  void tell() {
    std::map<std::string, std::shared_ptr<const std::string>> shared; // by the parts that a stream lacks
    const auto streams = streams_;                                    // closing one takes it from the list
    for (const auto& stream : streams) {
      std::string lacks;
      for (const auto& part : parts_.all())
        if (stream->told[part.id] != part.version)
          lacks += part.id + ' ';
      auto& text = shared[lacks];
      if (!text)
        text = std::make_shared<const std::string>(events_of(lacks));
      if ((!lacks.empty() || ++quiet_ % 25 == 0) && stream->send(text))
        for (const auto& part : parts_.all())
          stream->told[part.id] = part.version;
    }
  }

  /// @param lacks ids, each with a space after it
  std::string events_of(std::string_view lacks) const {
    std::string text;
    for (const auto& part : parts_.all())
      if (lacks.find(part.id + ' ') != std::string_view::npos)
        text += event_of(part);
    return text.empty() ? ": nothing new\n\n" : text; // a closed reader is noticed when something is sent
  }

  server_options options_;
  access::web_gate gate_;
  asio::io_context loop_{1};
  access::web_listener listener_;
  asio::steady_timer tick_;
  std::list<std::shared_ptr<connection>> asking_, streams_; ///< oldest first
  std::optional<run_reader> reader_;
  sections parts_;
  std::uint64_t quiet_ = 0;
  std::thread thread_;
};

server::server(server_options options) : state_(std::make_shared<state>(std::move(options))) {
}

server::~server() {
  state_->stop();
}

void server::start(std::function<std::filesystem::path()> folder) {
  state_->start(std::move(folder));
}

std::string server::url() const {
  return "http://" + state_->at().host_in_url() + ":" + std::to_string(port()) + "/";
}

std::uint16_t server::port() const {
  return state_->port();
}

} // namespace millrace::watch
