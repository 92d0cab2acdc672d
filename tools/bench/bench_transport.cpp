// Pulls between two processes of this host, each read through once: by size, wire and number of pulls at once. "auto"
// maps the owner's memory, "tcp" copies it, "aes" copies it encrypted. CPU seconds a GB of the owner and of the reader
// stand beside the rate.
//
//     bench_transport [seconds per figure, default 0.5]
//     bench_transport SECONDS tcp|aes|auto BYTES     pulls of one size, one at once; what is copied is not read again
//                                                    (its checksum has read it): tools/bench/pulls.py compares UCX's
//                                                    own
#include "runtime/transport/data_plane.hpp"

#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <future>
#include <mutex>
#include <optional>
#include <vector>

using namespace millrace;
using namespace millrace::transport;
using clk = std::chrono::steady_clock;

namespace {

constexpr std::size_t sizes[] = {8, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 256 << 20};

/// What stands in for a model's weights: 272 tensors, 540 MB, as SmolLM2-135M in fp32.
constexpr std::size_t tensors = 272, tensor_bytes = std::size_t{540'000'000} / tensors / 4 * 4;

data_plane_options options_of(std::uint64_t node, const char* wire_name) {
  data_plane_options options;
  options.node = node;
  options.encrypt = std::string_view(wire_name) == "aes";
  options.transport = wire_from(options.encrypt ? "tcp" : wire_name);
  options.max_outstanding_pulls = 64;
  return options;
}

bundle of_size(std::size_t bytes) {
  return bundle_builder().add<std::uint8_t>("bytes", std::vector<std::uint8_t>(bytes, 1)).finish();
}

bundle weights() {
  const std::vector<float> numbers(tensor_bytes / 4, 1);
  bundle_builder builder;
  for (std::size_t i = 0; i < tensors; ++i)
    builder.add<float>(std::to_string(i), numbers);
  return builder.finish();
}

/// CPU seconds that a process has used, in all its threads.
double cpu_of(pid_t process) {
  clockid_t clock;
  timespec used{};
  if (::clock_getcpuclockid(process, &clock) != 0 || ::clock_gettime(clock, &used) != 0)
    return 0;
  return static_cast<double>(used.tv_sec) + 1e-9 * static_cast<double>(used.tv_nsec);
}

/// Reads every byte.
std::uint64_t sum_of(const bundle& value) {
  std::uint64_t sum = 0;
  for (const auto& column : value.columns())
    for (std::size_t i = 0; i + 8 <= column.bytes.size(); i += 8) {
      std::uint64_t word;
      std::memcpy(&word, column.bytes.data() + i, sizeof word);
      sum += word;
    }
  return sum;
}

/// The owner: publishes, says its address on the socket, and lives until the socket closes.
/// @param only a bundle of so many bytes; 0: all that are compared
int own(const char* wire_name, int socket, std::size_t only) {
  data_plane plane(options_of(1, wire_name));
  if (only > 0) {
    plane.publish(of_size(only), checksums::left_out);
  } else {
    for (const std::size_t bytes : sizes)
      plane.publish(of_size(bytes), checksums::left_out);
    plane.publish(weights(), checksums::left_out);
  }
  const auto address = plane.address();
  if (::write(socket, address.data(), address.size()) != static_cast<ssize_t>(address.size()))
    return 1;
  char nothing;
  return ::read(socket, &nothing, 1) == 0 ? 0 : 1;
}

/// The owner's ticket of a bundle like this one.
millrace::ticket ticket_of(std::uint64_t id, const bundle& like, checksums how) {
  return {.owner = 1,
          .id = id,
          .bytes = like.bytes(),
          .layout = like.layout(),
          .checksums = how == checksums::computed ? like.checksums() : std::vector<std::uint64_t>{}};
}

struct rate {
  double pulls_per_s;
  double megabytes_per_s;
  double owner_cpu_s; ///< a GB
  double reader_cpu_s;
};

/// Keeps `window` pulls of a ticket in flight for some time. @param read every byte of each
rate measure(data_plane& plane, pid_t owner, const ticket& t, int window, double seconds, bool read = true) {
  struct state {
    std::mutex mutex;
    long done = 0;
    int open = 0;
    std::promise<void> ended;
    std::uint64_t sum = 0;
  } s;

  const auto start = clk::now();
  const double owner_before = cpu_of(owner), reader_before = cpu_of(::getpid());
  const auto deadline = start + std::chrono::duration_cast<clk::duration>(std::chrono::duration<double>(seconds));
  std::function<void()> next = [&] {
    plane.pull(t, std::chrono::seconds(30), [&](pull_result got) {
      if (!got) {
        std::fprintf(stderr, "%s\n", got.error.c_str());
        std::exit(1);
      }
      ++s.done;
      s.sum += read ? sum_of(got.value) : 0;
      if (clk::now() < deadline)
        next();
      else if (--s.open == 0)
        s.ended.set_value();
    });
  };
  s.open = window;
  for (int i = 0; i < window; ++i)
    next();
  s.ended.get_future().wait();
  const double took = std::chrono::duration<double>(clk::now() - start).count();
  const double gigabytes = s.done * double(t.bytes) / 1e9;
  return {s.done / took, 1e3 * gigabytes / took, (cpu_of(owner) - owner_before) / gigabytes,
          (cpu_of(::getpid()) - reader_before) / gigabytes};
}

/// An owner in a process of its own.
struct owner_process {
  owner_process(const char* program, const char* wire_name, std::size_t only) {
    int sockets[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0)
      std::exit(1);
    socket = sockets[0];
    id = ::fork();
    if (id == 0) {
      const int mine = ::dup(sockets[1]);
      ::execl("/proc/self/exe", program, "--own", wire_name, std::to_string(mine).c_str(), std::to_string(only).c_str(),
              nullptr);
      ::_exit(1);
    }
    ::close(sockets[1]);
    address.resize(4096);
    const auto bytes = ::read(socket, address.data(), address.size());
    if (bytes <= 0)
      std::exit(1);
    address.resize(static_cast<std::size_t>(bytes));
  }

  owner_process(const owner_process&) = delete;
  owner_process& operator=(const owner_process&) = delete;

  ~owner_process() {
    ::close(socket);
    ::waitpid(id, nullptr, 0);
  }

  pid_t id = -1;
  int socket = -1;
  std::vector<std::byte> address;
};

/// Prints the rate of pulls of one size.
int measure_one(const char* program, const char* wire_name, double seconds, std::size_t bytes) {
  const owner_process owner(program, wire_name, bytes);
  data_plane plane(options_of(2, wire_name));
  plane.add_peer(1, owner.address);
  const bundle like = of_size(bytes);
  const ticket t = ticket_of(1, like, checksums::computed);
  const bool mapped = std::string_view(wire_name) == "auto";
  measure(plane, owner.id, t, 1, seconds / 4, mapped);
  const rate one = measure(plane, owner.id, t, 1, seconds, mapped);
  std::printf("%.1f MB/s, CPU s/GB owner %.4f reader %.4f\n", one.megabytes_per_s, one.owner_cpu_s, one.reader_cpu_s);
  return 0;
}

int compare(const char* program, const char* wire_name, double seconds) {
  const owner_process owner(program, wire_name, 0);
  data_plane plane(options_of(2, wire_name));
  plane.add_peer(1, owner.address);
  for (std::size_t i = 0; i < std::size(sizes); ++i) {
    const bundle like = of_size(sizes[i]);
    const ticket t = ticket_of(i + 1, like, checksums::computed);
    measure(plane, owner.id, t, 1, seconds);
    const rate one = measure(plane, owner.id, t, 1, seconds), four = measure(plane, owner.id, t, 4, seconds);
    std::printf(
        "%-4s %10zu B  1 at once: %9.1f us %6.0f MB/s, CPU s/GB owner %.4f reader %.4f  4 at once: %6.0f MB/s\n",
        wire_name, sizes[i], 1e6 / one.pulls_per_s, one.megabytes_per_s, one.owner_cpu_s, one.reader_cpu_s,
        four.megabytes_per_s);
  }
  const bundle like = weights();
  const ticket t = ticket_of(std::size(sizes) + 1, like, checksums::computed);
  measure(plane, owner.id, t, 1, seconds);
  const rate one = measure(plane, owner.id, t, 1, 4 * seconds);
  std::printf("%-4s weights, %zu tensors, %zu MB: %.0f ms, %.0f MB/s, CPU s/GB owner %.5f reader %.4f\n%s", wire_name,
              tensors, like.bytes() / 1'000'000, 1e3 / one.pulls_per_s, one.megabytes_per_s, one.owner_cpu_s,
              one.reader_cpu_s, plane.describe().c_str());
  return 0;
}

} // namespace

int main(int count, char** arguments) {
  if (count == 5 && std::strcmp(arguments[1], "--own") == 0)
    return own(arguments[2], std::atoi(arguments[3]), std::strtoull(arguments[4], nullptr, 10));
  const double seconds = count > 1 ? std::atof(arguments[1]) : 0.5;
  if (count == 4)
    return measure_one(arguments[0], arguments[2], seconds, std::strtoull(arguments[3], nullptr, 10));
  return compare(arguments[0], "tcp", seconds) + compare(arguments[0], "aes", seconds)
         + compare(arguments[0], "auto", seconds);
}
