#include "actors/protocol/system.hpp"
#include "actors/protocol/wire_fields.hpp"
#include "actors/protocol/wire_types.hpp"
#include "runtime/messages/node.hpp"
#include "tests/support/deterministic_system.hpp"

#include <doctest/doctest.h>

#include <map>
#include <string>
#include <type_traits>
#include <variant>
#include <vector>

namespace wire_types_test {

using namespace millrace;
using namespace millrace::actors;

namespace {

/// Writes another value than the default into every field it sees. Handles stay empty.
struct filler {
  using result_type = caf::error;
  static constexpr bool reads_state = false;
  static constexpr bool writes_state = true;

  int next = 1;

  template <class... Ts>
  caf::error operator()(Ts&&... fields) {
    (fill(fields), ...);
    return {};
  }

  template <class T>
  void fill(T& x) {
    if constexpr (std::is_same_v<T, bool>)
      x = !x;
    else if constexpr (std::is_enum_v<T>)
      x = static_cast<T>(1);
    else if constexpr (std::is_arithmetic_v<T>)
      x = static_cast<T>(next++ % 100 + 1);
    else if constexpr (!std::is_base_of_v<address, T>)
      inspect(*this, x);
  }

  void fill(std::string& x) { x = "text " + std::to_string(next++); }

  template <class T>
  void fill(std::vector<T>& x) {
    x.resize(2);
    for (auto& element : x)
      fill(element);
  }

  template <class K, class V>
  void fill(std::map<K, V>& x) {
    for (int i = 0; i < 2; ++i) {
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

template <class Message>
Message filled() {
  Message value{};
  filler fill;
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

TEST_CASE("every message of every protocol is listed and arrives as it was sent") {
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
