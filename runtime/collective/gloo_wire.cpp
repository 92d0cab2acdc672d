#include "runtime/collective/gloo_wire.hpp"

#include "runtime/access/gloo_stream.hpp"
#include "runtime/access/proof.hpp"
#include "runtime/access/socket_calls.hpp"
#include "runtime/collective/group.hpp"
#include "runtime/words/no_signals.hpp"

#include <ATen/ATen.h>
#include <netinet/in.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#define USE_C10D_GLOO
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

namespace millrace::collective {
namespace {

/// Gloo would try again on its own thread, where an exception ends the process. It reads this once, at its first
/// connection, so the program says it before it has threads.
[[maybe_unused]] const int no_retries = ::setenv("GLOO_DISABLE_CONNECTION_RETRIES", "1", 1);

static_assert(static_cast<std::size_t>(gloo_wire::kind::farewell) + 1 == access::rank_slots);

/// Gloo's own deadline, for what never is late: the group has its own.
constexpr auto never = std::chrono::hours(24);

std::string hex_of(const std::vector<std::uint8_t>& bytes) {
  constexpr char digits[] = "0123456789abcdef";
  std::string text;
  for (const auto byte : bytes)
    text += {digits[byte >> 4], digits[byte & 15]};
  return text;
}

std::vector<std::uint8_t> bytes_of(const std::string& hex, const std::string& whose) {
  const auto digit = [](char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; };
  std::vector<std::uint8_t> bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    const int high = digit(hex[i]), low = digit(hex[i + 1]);
    if (high < 0 || low < 0)
      break;
    bytes.push_back(static_cast<std::uint8_t>(high << 4 | low));
  }
  if (bytes.empty() || bytes.size() * 2 != hex.size())
    throw lost(whose + "'s address: want pairs of digits 0-9a-f, got \"" + hex.substr(0, 40) + "\"");
  return bytes;
}

/// A rank's address as Gloo has it: length and text of its host's name, length of a socket's address with a number, and
/// that. Gloo believes both lengths (`Rank::Rank`, gloo/transport/tcp/context.cc), so they are checked here.
void check_address(const std::vector<std::uint8_t>& bytes, const std::string& whose) {
  constexpr std::size_t address = sizeof(sockaddr_storage) + sizeof(std::int64_t),
                        fixed = 2 * sizeof(std::uint64_t) + address;
  const auto number = [&](std::size_t at) {
    std::uint64_t value = 0;
    std::memcpy(&value, bytes.data() + at, sizeof value);
    return value;
  };
  if (bytes.size() < fixed || number(0) != bytes.size() - fixed || number(sizeof(std::uint64_t) + number(0)) != address)
    throw lost(whose + "'s address: want a host's name and " + std::to_string(address) + " bytes, got "
               + std::to_string(bytes.size()) + " bytes of other lengths");
}

/// What LibTorch keeps in a store, kept in words. Each rank puts one word, its address; the key ends in "/RANK".
class word_store : public c10d::Store {
public:
  word_store(std::shared_ptr<rendezvous> words, std::chrono::steady_clock::time_point deadline,
             std::chrono::milliseconds within)
      : words_(std::move(words)), deadline_(deadline), within_(within) {}

  c10::intrusive_ptr<Store> clone() override { return c10::make_intrusive<word_store>(words_, deadline_, within_); }

  void set(const std::string& key, const std::vector<std::uint8_t>& value) override { words_->put(key, hex_of(value)); }

  std::vector<std::uint8_t> get(const std::string& key) override {
    asked_ = whose(key);
    auto bytes = bytes_of(words_->wait(key, asked_, deadline_, within_), asked_);
    check_address(bytes, asked_);
    return bytes;
  }

  /// Of whom the last word was wanted: "rank 2".
  const std::string& asked() const { return asked_; }

  bool check(const std::vector<std::string>& keys) override {
    return std::all_of(keys.begin(), keys.end(), [this](const auto& key) { return words_->has(key); });
  }

  void wait(const std::vector<std::string>& keys) override {
    for (const auto& key : keys)
      get(key);
  }

  void wait(const std::vector<std::string>& keys, const std::chrono::milliseconds&) override { wait(keys); }

  std::int64_t add(const std::string& key, std::int64_t) override { return no_word(key); }

  bool deleteKey(const std::string& key) override { return no_word(key) != 0; }

  std::int64_t getNumKeys() override { return no_word("all"); }

private:
  static std::string whose(const std::string& key) { return "rank " + key.substr(key.rfind('/') + 1); }

  static std::int64_t no_word(const std::string& key) {
    throw std::logic_error("Gloo wants more of \"" + key + "\" than a word");
  }

  std::shared_ptr<rendezvous> words_;
  std::chrono::steady_clock::time_point deadline_;
  std::chrono::milliseconds within_;
  std::string asked_;
};

class gloo_post : public gloo_wire::post {
public:
  explicit gloo_post(c10::intrusive_ptr<c10d::Work> work) : work_(std::move(work)) {}

  bool wait() override { return work_->wait(never); }

  void cancel() override { work_->abort(); }

private:
  c10::intrusive_ptr<c10d::Work> work_;
};

/// Connects to an own port as `rank` would, and closes the connection.
void come_and_go(const sockaddr_storage& port, const access::key256& key, std::int64_t rank) {
  const auto* const to = reinterpret_cast<const sockaddr*>(&port);
  const int socket = ::socket(port.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (socket >= 0
      && ::connect(socket, to, port.ss_family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6)) == 0) {
    const auto shown = access::make_proof(key, access::place_of(to));
    // A fresh connection has room for both.
    [[maybe_unused]] auto sent = ::send(socket, shown.data(), shown.size(), MSG_NOSIGNAL);
    sent = ::send(socket, &rank, sizeof rank, MSG_NOSIGNAL);
  }
  if (socket >= 0)
    ::close(socket);
}

} // namespace

std::string plain_words(std::string line) {
  line = line.substr(0, line.find('\n'));
  const bool enforced = line.starts_with("[enforce fail at "); // then comes a condition, and what it was about at last
  if (const auto end = line.find("] "); line.starts_with('[') && end != std::string::npos)
    line = line.substr(end + 2);
  if (const auto last = line.rfind(". "); enforced && last != std::string::npos)
    return line.substr(last + 2);
  return line.substr(0, line.find(". "));
}

struct gloo_wire::library {
  int size = 0;
  access::key256 key;
  sockaddr_storage port; ///< the own one
  c10::intrusive_ptr<c10d::ProcessGroupGloo> group;
  c10::intrusive_ptr<c10d::Work> nobodys; ///< waits for a tensor that nobody sends
};

gloo_wire::gloo_wire(const wire_options& options, std::shared_ptr<rendezvous> words)
    : library_(std::make_unique<library>()) {
  const no_signals quiet;
  const access::guard_ranks guard(options.key, options.ports);
  const auto guarded_before = access::guarded_ports();
  auto how = c10d::ProcessGroupGloo::Options::create(never);
  how->threads = 1; // for collective operations, of which there are none
  try {
    how->devices = {c10d::ProcessGroupGloo::createDeviceForHostname(options.host, /*lazyInit=*/true)};
  } catch (const std::exception& error) {
    if (options.ports[1] == 0 || guard.port())
      throw;
    throw std::runtime_error("no port from " + std::to_string(options.ports[0]) + " to "
                             + std::to_string(options.ports[1]) + " of " + options.host
                             + " can be listened on for ranks: " + plain_words(error.what()));
  }
  if (access::guarded_ports() == guarded_before || !guard.port())
    throw std::logic_error("Gloo has opened a port that nobody guards");
  library_->size = options.size;
  library_->key = options.key;
  library_->port = *guard.port();
  const auto store = c10::make_intrusive<word_store>(std::move(words), options.deadline, options.within);
  library_->group = c10::make_intrusive<c10d::ProcessGroupGloo>(store, options.rank, options.size, how);
  // From whomever it may come: so the connections to all are begun here.
  std::vector<at::Tensor> nothing{at::empty({1}, at::kByte)};
  try {
    library_->nobodys = library_->group->recvAnysource(nothing, static_cast<int>(kind::farewell) + 1);
  } catch (const lost&) {
    throw;
  } catch (const std::exception& error) {
    throw lost(store->asked() + " is gone: " + plain_words(error.what()));
  }
}

gloo_wire::~gloo_wire() {
  hang_up();
}

std::unique_ptr<gloo_wire::post> gloo_wire::send(const at::Tensor& tensor, int to, kind what) {
  std::vector<at::Tensor> one{tensor};
  return std::make_unique<gloo_post>(library_->group->send(one, to, static_cast<int>(what)));
}

std::unique_ptr<gloo_wire::post> gloo_wire::receive(const at::Tensor& tensor, int from, kind what) {
  std::vector<at::Tensor> one{tensor};
  return std::make_unique<gloo_post>(library_->group->recv(one, from, static_cast<int>(what)));
}

void gloo_wire::give_up_connecting() {
  for (int rank = 0; rank < library_->size; ++rank)
    come_and_go(library_->port, library_->key, rank);
}

void gloo_wire::hang_up() {
  try {
    library_->nobodys->wait(std::chrono::milliseconds(1));
  } catch (const std::exception&) {
    // A wait that is too late closes every connection, which is what it is for.
  }
}

} // namespace millrace::collective
