#include "runtime/transport/ucx_worker.hpp"

#include "runtime/access/checked_streams.hpp"
#include "runtime/access/data_stream.hpp"

#include <boost/asio/post.hpp>
#include <ucs/config/global_opts.h>
#include <ucs/debug/debug.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <mutex>
#include <optional>
#include <set>
#include <stdexcept>
#include <utility>

namespace millrace::transport {
namespace {

constexpr unsigned message_id = 1;

/// Rounds of progress before other work of the loop (deadlines, requests) gets its turn.
constexpr int rounds_per_turn = 64;

void check(ucs_status_t status, const char* what) {
  if (status != UCS_OK)
    throw std::runtime_error(std::string("UCX: ") + what + ": " + ucs_status_string(status));
}

/// UCX reports every lost peer on its own and catches crashes for itself: the first is ours to tell, the second
/// would take them from sanitizers and core dumps.
void make_ucx_quiet() {
  if (std::getenv("UCX_LOG_LEVEL") == nullptr)
    ucs_global_opts_set_value("LOG_LEVEL", "fatal");
  for (const int signal : {SIGILL, SIGSEGV, SIGBUS, SIGFPE})
    ucs_debug_disable_signal(signal);
}

/// The kernel's keep-alive of UCX's TCP sockets. UCX 1.13 takes these by `ucp_config_modify` too, answers that all is
/// well, and ignores them: only the environment works.
void set_keepalive() {
  for (const auto& [name, value] :
       {std::pair("UCX_TCP_KEEPIDLE", "1s"), std::pair("UCX_TCP_KEEPINTVL", "1s"), std::pair("UCX_TCP_KEEPCNT", "3")})
    setenv(name, value, /*overwrite=*/0);
}

/// These too are taken from the environment alone.
void set_listening(const listening& where) {
  setenv("UCX_TCP_RX_SEG_SIZE", std::to_string(access::longest_data_frame).c_str(), 1);
  if (where.ports[1] > 0)
    setenv("UCX_TCP_PORT_RANGE", (std::to_string(where.ports[0]) + '-' + std::to_string(where.ports[1])).c_str(), 1);
  if (where.v6)
    setenv("UCX_TCP_AF_PRIO", "inet6,inet", 1);
}

/// How the one version says things whose format `runtime/access` knows; a person's environment may not change it.
constexpr std::array<std::pair<const char*, const char*>, 6> known_format{{{"PROTO_ENABLE", "n"},
                                                                           {"PROTO_INDIRECT_ID", "on"},
                                                                           {"UNIFIED_MODE", "n"},
                                                                           {"ADDRESS_VERSION", "v1"},
                                                                           {"ADDRESS_DEBUG_INFO", "n"},
                                                                           {"RNDV_SCHEME", "auto"}}};

bool is_known_version() {
  unsigned major = 0, minor = 0, release = 0;
  ucp_get_version(&major, &minor, &release);
  return major == 1 && minor == 13 && release == 1;
}

} // namespace

ucx_context::ucx_context(const ucx_choice& allowed, const listening& where)
    : format_is_known_(is_known_version() && allowed.tcp && !allowed.rdma) {
  make_ucx_quiet();
  static std::once_flag once;
  std::call_once(once, set_keepalive);
  set_listening(where);
  ucp_config_t* read = nullptr;
  check(ucp_config_read(nullptr, nullptr, &read), "configuration");
  const std::unique_ptr<ucp_config_t, void (*)(ucp_config_t*)> config(read, ucp_config_release);
  std::vector<std::pair<const char*, std::string>> settings{{"TLS", allowed.transports},
                                                            {"NET_DEVICES", allowed.devices}};
  // UCX's own keep-alive keeps unacknowledged data on a socket, and then the kernel's never fires. RDMA has no other.
  if (!allowed.rdma)
    settings.emplace_back("KEEPALIVE_INTERVAL", "inf");
  if (format_is_known_)
    settings.insert(settings.end(), known_format.begin(), known_format.end());
  for (const auto& [name, value] : settings)
    check(ucp_config_modify(config.get(), name, value.c_str()), name);
  ucp_params_t parameters{};
  parameters.field_mask = UCP_PARAM_FIELD_FEATURES;
  parameters.features = UCP_FEATURE_AM | UCP_FEATURE_WAKEUP;
  check(ucp_init(&parameters, config.get(), &context_),
        ("transports " + allowed.transports + " on " + allowed.devices).c_str());
}

ucx_context::~ucx_context() {
  if (!left_alone_)
    ucp_cleanup(context_);
}

// ---- one operation in flight
// ------------------------------------------------------------------------------------------

struct ucx_worker::operation {
  ucx_worker* worker;
  std::vector<std::byte> header;
  std::shared_ptr<const void> keep;
  outcome_handler done;
  std::optional<access::room_for_data> room; ///< where what comes is written
  ucp_ep_h to{};                             ///< whom it is sent to
};

struct ucx_worker::endpoint_state {
  ucp_ep_h handle{};
  outcome_handler on_failure;
  bool failed = false; ///< UCX found the peer dead and has ended every operation
};

ucx_worker::operation* ucx_worker::start(std::shared_ptr<const void> keep, outcome_handler done) {
  auto* op = new operation{this, {}, std::move(keep), std::move(done), {}, {}};
  operations_.insert(op);
  return op;
}

void ucx_worker::end(operation* op, ucs_status_t status) {
  const std::unique_ptr<operation> last(op);
  op->worker->operations_.erase(op);
  if (const auto sent = op->worker->sends_.find(op->to); op->to != nullptr && --sent->second == 0)
    op->worker->sends_.erase(sent);
  if (op->done && *op->worker->alive_)
    op->done(status);
}

/// A null request has ended already and calls nobody; an error never started.
void ucx_worker::settle(void* request, operation* op) {
  if (request == nullptr)
    end(op, UCS_OK);
  else if (UCS_PTR_IS_ERR(request))
    end(op, UCS_PTR_STATUS(request));
  wake();
}

// ---- worker
// -------------------------------------------------------------------------------------------------------------

ucx_worker::ucx_worker(boost::asio::io_context& loop, const ucx_context& context, message_handler on_message)
    : loop_(loop), context_(context), on_message_(std::move(on_message)), events_(loop) {
  ucp_worker_params_t parameters{};
  parameters.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE;
  parameters.thread_mode = UCS_THREAD_MODE_SINGLE;
  check(ucp_worker_create(context.get(), &parameters, &worker_), "worker");
  try {
    ucp_am_handler_param_t handler{};
    handler.field_mask = UCP_AM_HANDLER_PARAM_FIELD_ID | UCP_AM_HANDLER_PARAM_FIELD_CB | UCP_AM_HANDLER_PARAM_FIELD_ARG
                         | UCP_AM_HANDLER_PARAM_FIELD_FLAGS;
    handler.id = message_id;
    handler.cb = on_active_message;
    handler.arg = this;
    handler.flags = UCP_AM_FLAG_WHOLE_MSG;
    check(ucp_worker_set_am_recv_handler(worker_, &handler), "message handler");
    int descriptor = -1;
    check(ucp_worker_get_efd(worker_, &descriptor), "event descriptor");
    events_.assign(descriptor);
  } catch (...) {
    ucp_worker_destroy(worker_);
    throw;
  }
  wake();
}

ucx_worker::~ucx_worker() {
  *alive_ = false;
  events_.release(); // it belongs to UCX
  const auto patience = std::chrono::steady_clock::now() + std::chrono::milliseconds(300);
  while (!operations_.empty() && std::chrono::steady_clock::now() < patience)
    ucp_worker_progress(worker_);
  if (!operations_.empty()) {
    // UCX 1.13 may abort the process when it ends operations that are under way (assertions in uct_iface.h and
    // ucp_request.c). A frozen peer is no reason for that: worker, operations and their memory are left to the
    // process's end.
    context_.leave_alone();
    return;
  }
  close_waiting();
  ucp_worker_destroy(worker_);
}

std::vector<std::byte> ucx_worker::address() const {
  ucp_address_t* address = nullptr;
  std::size_t bytes = 0;
  check(ucp_worker_get_address(worker_, &address, &bytes), "worker address");
  const auto* begin = reinterpret_cast<const std::byte*>(address);
  std::vector<std::byte> copy(begin, begin + bytes);
  ucp_worker_release_address(worker_, address);
  return copy;
}

ucp_ep_h ucx_worker::connect(std::span<const std::byte> address, outcome_handler on_failure) {
  auto state = std::make_unique<endpoint_state>();
  state->on_failure = std::move(on_failure);
  ucp_ep_params_t parameters{};
  parameters.field_mask =
      UCP_EP_PARAM_FIELD_REMOTE_ADDRESS | UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE | UCP_EP_PARAM_FIELD_ERR_HANDLER;
  parameters.address = reinterpret_cast<const ucp_address_t*>(address.data());
  parameters.err_mode = UCP_ERR_HANDLING_MODE_PEER;
  parameters.err_handler.arg = state.get();
  parameters.err_handler.cb = [](void* arg, ucp_ep_h, ucs_status_t status) {
    auto* failing = static_cast<endpoint_state*>(arg);
    failing->failed = true;
    if (auto handler = std::exchange(failing->on_failure, nullptr))
      handler(status);
  };
  check(ucp_ep_create(worker_, &parameters, &state->handle), "endpoint");
  endpoints_.push_back(std::move(state));
  wake();
  return endpoints_.back()->handle;
}

void ucx_worker::close(ucp_ep_h endpoint) {
  bool failed = false;
  for (auto& state : endpoints_)
    if (state->handle == endpoint) {
      state->handle = nullptr;
      state->on_failure = nullptr;
      failed = state->failed;
    }
  if (failed || operations_.empty())
    close_by_force(endpoint);
  else
    waiting_to_close_.push_back(endpoint);
  wake();
}

void ucx_worker::close_by_force(ucp_ep_h endpoint) {
  ucp_request_param_t parameters{};
  parameters.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS | UCP_OP_ATTR_FIELD_CALLBACK;
  parameters.flags = UCP_EP_CLOSE_FLAG_FORCE;
  parameters.cb.send = [](void* request, ucs_status_t, void*) { ucp_request_free(request); };
  ucp_ep_close_nbx(endpoint, &parameters);
}

void ucx_worker::close_waiting() {
  for (const ucp_ep_h endpoint : std::exchange(waiting_to_close_, {}))
    close_by_force(endpoint);
}

void ucx_worker::send(ucp_ep_h endpoint, std::span<const std::byte> header, std::span<const std::byte> payload,
                      std::shared_ptr<const void> keep, outcome_handler done) {
  operation* op = start(std::move(keep), std::move(done));
  op->header.assign(header.begin(), header.end());
  op->to = endpoint;
  ++sends_[endpoint];
  ucp_request_param_t parameters{};
  parameters.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA | UCP_OP_ATTR_FIELD_FLAGS;
  parameters.flags = UCP_AM_SEND_FLAG_REPLY;
  parameters.user_data = op;
  parameters.cb.send = [](void* request, ucs_status_t status, void* arg) {
    end(static_cast<operation*>(arg), status);
    ucp_request_free(request);
  };
  settle(ucp_am_send_nbx(endpoint, message_id, op->header.data(), op->header.size(), payload.data(), payload.size(),
                         &parameters),
         op);
}

std::size_t ucx_worker::sends_under_way(ucp_ep_h endpoint) const {
  const auto found = sends_.find(endpoint);
  return found == sends_.end() ? 0 : found->second;
}

void ucx_worker::receive(incoming& message, std::span<std::byte> to, std::shared_ptr<const void> keep,
                         outcome_handler done) {
  if (message.data == nullptr) {
    if (!message.payload.empty())
      std::memcpy(to.data(), message.payload.data(), message.payload.size());
    done(UCS_OK);
    return;
  }
  message.fetched = true;
  operation* op = start(std::move(keep), std::move(done));
  op->room.emplace(to.data(), message.bytes);
  ucp_request_param_t parameters{};
  parameters.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA;
  parameters.user_data = op;
  parameters.cb.recv_am = [](void* request, ucs_status_t status, std::size_t, void* arg) {
    end(static_cast<operation*>(arg), status);
    ucp_request_free(request);
  };
  settle(ucp_am_recv_data_nbx(worker_, message.data, to.data(), message.bytes, &parameters), op);
}

ucs_status_t ucx_worker::on_active_message(void* self, const void* header, std::size_t header_bytes, void* data,
                                           std::size_t bytes, const ucp_am_recv_param_t* parameters) {
  const bool to_fetch = (parameters->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV) != 0;
  incoming message;
  message.header = {static_cast<const std::byte*>(header), header_bytes};
  message.bytes = bytes;
  if (to_fetch)
    message.data = data;
  else
    message.payload = {static_cast<const std::byte*>(data), bytes};
  if (parameters->recv_attr & UCP_AM_RECV_ATTR_FIELD_REPLY_EP)
    message.reply = parameters->reply_ep;
  static_cast<ucx_worker*>(self)->on_message_(message);
  return message.fetched ? UCS_INPROGRESS : UCS_OK;
}

// ---- the loop
// -----------------------------------------------------------------------------------------------------------

void ucx_worker::wake() {
  if (std::exchange(progress_posted_, true))
    return;
  boost::asio::post(loop_, [this, alive = alive_] {
    if (!*alive)
      return;
    progress_posted_ = false;
    progress();
  });
}

/// UCX's rule: progress until there is none, arm, and only then wait; BUSY means that something came in between.
void ucx_worker::progress() {
  if (operations_.empty() && !waiting_to_close_.empty())
    close_waiting();
  int rounds = 0;
  do {
    while (rounds < rounds_per_turn && ucp_worker_progress(worker_) != 0)
      ++rounds;
    if (rounds >= rounds_per_turn)
      return wake();
    ++rounds;
  } while (ucp_worker_arm(worker_) == UCS_ERR_BUSY);
  if (std::exchange(waiting_, true))
    return;
  events_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                     [this, alive = alive_](const boost::system::error_code& error) {
                       if (!*alive)
                         return;
                       waiting_ = false;
                       if (!error)
                         progress();
                     });
}

std::string ucx_worker::transports(ucp_ep_h endpoint) const {
  char* text = nullptr;
  std::size_t bytes = 0;
  std::FILE* stream = ::open_memstream(&text, &bytes);
  ucp_ep_print_info(endpoint, stream);
  std::fclose(stream);
  const std::string info(text, bytes);
  std::free(text);
  std::string result;
  std::set<std::string> seen;
  for (auto lane = info.find("lane["); lane != std::string::npos; lane = info.find("lane[", lane + 1)) {
    // "lane[0]:  1:tcp/lo.0 md[1] ..."
    const auto colon = info.find(':', info.find(']', lane) + 2);
    const auto name = info.substr(colon + 1, info.find_first_of(". ", colon + 1) - colon - 1);
    if (seen.insert(name).second)
      result += (result.empty() ? "" : " + ") + name;
  }
  return result;
}

} // namespace millrace::transport
