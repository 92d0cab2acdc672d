#include "actors/protocol/system.hpp"
#include "actors/protocol/wire_fields.hpp"
#include "actors/protocol/wire_types.hpp"
#include "runtime/messages/node.hpp"
#include "tests/support/deterministic_system.hpp"

#include <doctest/doctest.h>

#include <array>
#include <bit>
#include <limits>
#include <map>
#include <random>
#include <string>
#include <type_traits>
#include <variant>
#include <vector>

namespace wire_types_test {

using namespace millrace;
using namespace millrace::actors;

namespace {

/// Writes a value into every field it sees. `Values` says which, and how many elements a list has. Handles stay empty.
template <class Values>
struct filler {
  using result_type = caf::error;
  static constexpr bool reads_state = false;
  static constexpr bool writes_state = true;

  Values values;

  template <class... Ts>
  caf::error operator()(Ts&&... fields) {
    (fill(fields), ...);
    return {};
  }

  template <class T>
  void fill(T& x) {
    if constexpr (std::is_arithmetic_v<T> || std::is_enum_v<T>)
      values.set(x);
    else if constexpr (!std::is_base_of_v<address, T>)
      inspect(*this, x);
  }

  void fill(std::string& x) { values.set(x); }

  template <class T>
  void fill(std::vector<T>& x) {
    x.resize(values.list_size(std::is_arithmetic_v<T>));
    for (auto& element : x)
      fill(element);
  }

  template <class K, class V>
  void fill(std::map<K, V>& x) {
    for (std::size_t i = values.map_size(); i > 0; --i) {
      K key{};
      fill(key);
      fill(x[key]);
    }
  }

  template <class A, class B>
  void fill(std::pair<A, B>& x) {
    fill(x.first);
    fill(x.second);
  }
};

/// Another value than the default in every field.
struct counted_values {
  int next = 1;

  template <class T>
  void set(T& x) {
    if constexpr (std::is_same_v<T, bool>)
      x = !x;
    else if constexpr (std::is_enum_v<T>)
      x = static_cast<T>(1);
    else
      x = static_cast<T>(next++ % 100 + 1);
  }

  void set(std::string& x) { x = "text " + std::to_string(next++); }

  std::size_t list_size(bool /*of_numbers*/) const { return 2; }

  std::size_t map_size() const { return 2; }
};

/// Every class of numbers that a field may hold, and sizes of text and lists up to some thousand.
struct random_values {
  std::mt19937_64 random;

  std::size_t size() {
    const auto kind = random() % 50;
    return kind == 0 ? 3000 + random() % 3000 : kind < 20 ? 0 : random() % 4;
  }

  std::size_t list_size(bool of_numbers) { return of_numbers ? size() : size() % 5; }

  std::size_t map_size() { return size() % 100; }

  template <class T>
  void set(T& x) {
    if constexpr (std::is_same_v<T, bool>)
      x = random() % 2 == 0;
    else if constexpr (std::is_enum_v<T>)
      x = static_cast<T>(random() % 2);
    else if constexpr (std::is_floating_point_v<T>)
      x = number<T>();
    else
      x = integer<T>();
  }

  void set(std::string& x) {
    x.resize(size());
    for (auto& c : x)
      c = static_cast<char>(random());
  }

  template <class T>
  T number() {
    using limit = std::numeric_limits<T>;
    const std::array some{T(0),
                          -T(0),
                          limit::denorm_min(),
                          -limit::denorm_min(),
                          limit::min(),
                          limit::max(),
                          limit::lowest(),
                          limit::infinity(),
                          -limit::infinity(),
                          limit::quiet_NaN(),
                          -limit::quiet_NaN(),
                          limit::min() / 3};
    const auto kind = random() % (some.size() + 4);
    using bits = std::conditional_t<sizeof(T) == 8, std::uint64_t, std::uint32_t>;
    return kind < some.size() ? some[kind] : std::bit_cast<T>(static_cast<bits>(random()));
  }

  template <class T>
  T integer() {
    using limit = std::numeric_limits<T>;
    const std::array some{limit::min(), limit::max(), T(0), T(1), T(127)};
    const auto kind = random() % (some.size() + 3);
    return kind < some.size() ? some[kind] : static_cast<T>(random());
  }
};

/// All that a message holds, as bytes: numbers as their bits. Handles are left out.
struct flattener {
  using result_type = caf::error;
  static constexpr bool reads_state = true;
  static constexpr bool writes_state = false;

  std::string bytes;

  template <class... Ts>
  caf::error operator()(Ts&&... fields) {
    (add(fields), ...);
    return {};
  }

  template <class T>
  void add(T& x) {
    if constexpr (std::is_arithmetic_v<T> || std::is_enum_v<T>)
      bytes.append(reinterpret_cast<const char*>(&x), sizeof x);
    else if constexpr (!std::is_base_of_v<address, T>)
      inspect(*this, x);
  }

  void add_size(std::size_t size) { bytes += std::to_string(size) + ':'; }

  void add(std::string& x) {
    add_size(x.size());
    bytes += x;
  }

  template <class T>
  void add(std::vector<T>& x) {
    add_size(x.size());
    for (auto& element : x)
      add(element);
  }

  template <class K, class V>
  void add(std::map<K, V>& x) {
    add_size(x.size());
    for (auto& [key, value] : x) {
      auto copy = key; // fields are taken as if they could be written
      add(copy);
      add(value);
    }
  }

  template <class A, class B>
  void add(std::pair<A, B>& x) {
    add(x.first);
    add(x.second);
  }
};

template <class Message>
std::string flat(Message value) {
  flattener to;
  inspect(to, value);
  return to.bytes;
}

template <class Message>
Message filled() {
  Message value{};
  filler<counted_values> fill;
  inspect(fill, value);
  return value;
}

template <class Message>
std::vector<char> bytes_of_message(caf::actor_system& system, const Message& value) {
  return to_wire(system, envelope::of(value));
}

template <class Message>
void check_travels(caf::actor_system& system) {
  CAPTURE(typeid(Message).name());
  const auto value = filled<Message>();
  const auto bytes = bytes_of_message(system, value);
  const auto copy = from_wire(system, bytes);
  REQUIRE(copy.template as<Message>());
  CHECK(to_wire(system, copy) == bytes);
  if (!std::is_empty_v<Message>)
    CHECK(bytes_of_message(system, Message{}) != bytes);
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    CAPTURE(seed);
    Message random{};
    filler<random_values> fill{{.random = std::mt19937_64(seed)}};
    inspect(fill, random);
    const auto arrived = from_wire(system, bytes_of_message(system, random));
    REQUIRE(arrived.template as<Message>());
    REQUIRE(flat(*arrived.template as<Message>()) == flat(random));
  }
}

template <class Message>
void check_line(caf::actor_system& system, told<Message>) {
  check_travels<Message>(system);
}

template <class Message, class Answer>
void check_line(caf::actor_system& system, asked<Message, Answer>) {
  check_travels<Message>(system);
  check_travels<Answer>(system);
}

template <class... Lines>
void check_all_travel(caf::actor_system& system, protocol<Lines...>) {
  (check_line(system, Lines{}), ...);
}

struct nobody_listed_this {
  int x = 0;
};

using echoes =
    protocol<asked<process_group, process_group>, asked<process_report, process_report>, asked<role_ready, role_ready>>;

address start_echo(actor_system& system) {
  return system.start("echo", [](actor&, inbox& in) {
    in.on<process_group>([](const process_group& x) { return x; });
    in.on<process_report>([](const process_report& x) { return x; });
    in.on<role_ready>([](const role_ready& x) { return x; });
  });
}

} // namespace

TEST_CASE("every message of every protocol is listed and arrives as it was sent, every class of number and size") {
  tests::deterministic_system actors;
  check_all_travel(actors.system, gives_prompts{});
  check_all_travel(actors.system, generates{});
  check_all_travel(actors.system, adds_columns{});
  check_all_travel(actors.system, trains{});
  check_all_travel(actors.system, publishes_weights{});
  check_all_travel(actors.system, takes_weights{});
  check_all_travel(actors.system, evaluates{});
  check_all_travel(actors.system, keeps_state{});
  check_all_travel(actors.system, hosts_roles{});
  check_all_travel(actors.system, decides{});
  check_all_travel(actors.system, starts_processes{});
}

TEST_CASE("a message that nobody listed does not travel, and bytes that are no message are refused") {
  tests::deterministic_system actors;
  CHECK_THROWS_AS(bytes_of_message(actors.system, nobody_listed_this{1}), std::invalid_argument);
  CHECK_THROWS_AS(from_wire(actors.system, {'\x7f', '\x7f'}), std::runtime_error);
  auto cut = bytes_of_message(actors.system, filled<process_group>());
  cut.resize(cut.size() / 2);
  CHECK_THROWS_AS(from_wire(actors.system, cut), std::runtime_error);
  CHECK(from_wire(actors.system, to_wire(actors.system, {})).empty());
}

TEST_CASE("tickets, reports and handles cross a real connection between two actor systems") {
  cluster::actor_options options;
  options.threads = 1;
  options.keys = {access::random_key()};
  actor_system there(options), here(options);
  const auto served = start_echo(there);
  const auto port = there.publish(served, {"127.0.0.1", 0}, encryption::none);
  const auto found = here.find({"127.0.0.1", port}, encryption::none);
  REQUIRE(found.who);
  const handle<echoes> far(found.who);

  const auto group = filled<process_group>();
  const auto report = filled<process_report>();
  CHECK(group.columns.at(1).layout.at(0).shape.size() == 2);
  CHECK(report.trace.spans.at(1).args.size() == 2);
  CHECK(report.waits.size() == 2);
  CHECK(report.in_flight.at(1).held.size() == 2);
  const auto within = std::chrono::seconds(10);
  const auto group_back = here.ask_and_wait(far, group, within);
  REQUIRE(std::holds_alternative<process_group>(group_back));
  CHECK(std::get<process_group>(group_back).columns == group.columns);
  const auto report_back = here.ask_and_wait(far, report, within);
  REQUIRE(std::holds_alternative<process_report>(report_back));
  CHECK(std::get<process_report>(report_back).waits == report.waits);

  // A handle comes back as the actor that it was.
  const auto adder = start_echo(here);
  role_ready ready{.who = {"rules", 1, 2}, .node = 3};
  ready.column_adder = handle<adds_columns>(adder);
  const auto ready_back = here.ask_and_wait(far, ready, within);
  REQUIRE(std::holds_alternative<role_ready>(ready_back));
  CHECK(std::get<role_ready>(ready_back).column_adder == adder);
  CHECK(!std::get<role_ready>(ready_back).trainer);
  end_actor(adder);
  end_actor(served);
}

} // namespace wire_types_test
