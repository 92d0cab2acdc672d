#include "actors/message_types.hpp"

#include "actors/coordinator.hpp"
#include "actors/node_agent.hpp"
#include "runtime/cluster/actor_config.hpp"

#include <caf/binary_deserializer.hpp>
#include <caf/binary_serializer.hpp>
#include <caf/deep_to_string.hpp>
#include <caf/io/middleman.hpp>
#include <caf/scoped_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <doctest/doctest.h>

#include <string>
#include <type_traits>
#include <vector>

using namespace millrace;
using namespace millrace::actors;

namespace {

// -- every message of every protocol, out of the protocols themselves ----------------------------------------------------

template <class... Ts>
struct types {};

template <class A, class B>
struct joined;
template <class... As, class... Bs>
struct joined<types<As...>, types<Bs...>> {
  using type = types<As..., Bs...>;
};

template <class Signature>
struct messages_of_signature;
template <class... In, class... Out>
struct messages_of_signature<caf::typed_mpi<caf::detail::type_list<In...>, caf::output_tuple<Out...>>> {
  using type = types<In..., Out...>;
};

template <class Signatures>
struct messages_of_signatures {
  using type = types<>;
};
template <class First, class... Rest>
struct messages_of_signatures<caf::detail::type_list<First, Rest...>> {
  using type = typename joined<typename messages_of_signature<First>::type,
                               typename messages_of_signatures<caf::detail::type_list<Rest...>>::type>::type;
};

template <class Actor>
using messages_of = typename messages_of_signatures<typename Actor::signatures>::type;

// -- values with something in every field --------------------------------------------------------------------------------

template <class T>
struct is_actor_handle : std::false_type {};
template <class... Signatures>
struct is_actor_handle<caf::typed_actor<Signatures...>> : std::true_type {};

/// An inspector that writes another value than the default into everything it sees. Handles stay null.
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
    else if constexpr (!caf::meta::is_annotation<T>::value && !is_actor_handle<T>::value)
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

struct registered : caf::actor_system_config {
  registered() { actors::add_message_types(*this); }
};

/// What is left of `value` after a journey through CAF's serializer as a message; the error if it cannot travel.
template <class T>
std::string after_a_journey(caf::actor_system& system, const T& value) {
  caf::binary_serializer::container_type bytes;
  caf::binary_serializer sink(system, bytes);
  if (auto error = sink(caf::make_message(value)))
    return "not written: " + system.render(error);
  caf::message copy;
  caf::binary_deserializer source(system, bytes);
  if (auto error = source(copy))
    return "not read: " + system.render(error);
  if (!copy.match_elements<T>())
    return "arrived as " + caf::to_string(copy);
  return caf::deep_to_string(copy.get_as<T>(0));
}

template <class T>
void check_travels(caf::actor_system& system) {
  if constexpr (!std::is_void_v<T> && !std::is_same_v<T, caf::tick_atom>) {
    T value{};
    filler fill;
    inspect(fill, value);
    CHECK(after_a_journey(system, value) == caf::deep_to_string(value));
    if (!std::is_empty_v<T>)
      CHECK(caf::deep_to_string(value) != caf::deep_to_string(T{}));
  }
}

template <class... Ts>
void check_all_travel(caf::actor_system& system, types<Ts...>) {
  (check_travels<Ts>(system), ...);
}

struct nobody_registered_this {
  int x = 0;
};

template <class Inspector>
auto inspect(Inspector& f, nobody_registered_this& x) {
  return f(caf::meta::type_name("nobody_registered_this"), x.x);
}

} // namespace

TEST_CASE("every message of every protocol is registered and arrives as it was sent") {
  registered config;
  caf::actor_system system(config);
  check_all_travel(system, messages_of<source_actor>{});
  check_all_travel(system, messages_of<rollout_actor>{});
  check_all_travel(system, messages_of<stage_actor>{});
  check_all_travel(system, messages_of<policy_actor>{});
  check_all_travel(system, messages_of<process_agent_actor>{});
  check_all_travel(system, messages_of<coordinator_actor>{});
  check_all_travel(system, messages_of<node_actor>{});
}

TEST_CASE("a message that nobody registered would be noticed here") {
  registered config;
  caf::actor_system system(config);
  const nobody_registered_this value{1};
  CHECK(after_a_journey(system, value) != caf::deep_to_string(value));
}

TEST_CASE("tickets, reports and handles cross a real connection between two actor systems") {
  using echo = caf::typed_actor<caf::replies_to<process_group>::with<process_group>,
                                caf::replies_to<process_report>::with<process_report>,
                                caf::replies_to<stage_ready>::with<stage_ready>>;
  const auto echo_behaviour = []() -> echo::behavior_type {
    return {[](const process_group& x) { return x; }, [](const process_report& x) { return x; },
            [](const stage_ready& x) { return x; }};
  };
  cluster::actor_options options;
  options.threads = 1;
  cluster::actor_config here_config(options), there_config(options);
  actors::add_message_types(here_config);
  actors::add_message_types(there_config);
  caf::actor_system there(there_config), here(here_config);
  const auto served = there.spawn(echo_behaviour);
  const auto port = there.middleman().publish(served, 0, "127.0.0.1");
  REQUIRE(port);
  const auto far = here.middleman().remote_actor<echo>("127.0.0.1", *port);
  REQUIRE(far);

  caf::scoped_actor self(here);
  const auto comes_back = [&](const auto& sent) {
    using message = std::decay_t<decltype(sent)>;
    std::string got;
    self->request(*far, std::chrono::seconds(10), sent)
        .receive([&](const message& answer) { got = caf::deep_to_string(answer); },
                 [&](const caf::error& error) { got = here.render(error); });
    CHECK(got == caf::deep_to_string(sent));
  };
  process_group group;
  process_report report;
  filler fill;
  inspect(fill, group);
  inspect(fill, report);
  CHECK(group.columns.at(1).layout.at(0).shape.size() == 2);
  CHECK(report.trace.spans.at(1).args.size() == 2);
  CHECK(report.waits.size() == 2);
  CHECK(report.holdings.at(1).held.size() == 2);
  comes_back(group);
  comes_back(report);
  stage_ready ready{{"rules", 1, 2}, 3, here.spawn([]() -> stage_actor::behavior_type {
                      return {[](const process_group& x) { return group_columns{x.group, 7, {}, {}, "", 0}; }};
                    })};
  comes_back(ready);
  caf::anon_send_exit(ready.handle, caf::exit_reason::user_shutdown);
  caf::anon_send_exit(served, caf::exit_reason::user_shutdown);
}
