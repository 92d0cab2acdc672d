#include "actors/protocol/wire_types.hpp"
#include "runtime/cluster/endpoint.hpp"
#include "runtime/cluster/host_list.hpp"
#include "runtime/messages/abilities.hpp"
#include "runtime/messages/node.hpp"
#include "runtime/transport/wire_format.hpp"
#include "runtime/words/input_error.hpp"
#include "tests/fuzz/readers.hpp"
#include "tests/support/deterministic_system.hpp"

#include <memory>
#include <stdexcept>

namespace millrace::fuzz {
namespace {

std::span<const std::byte> bytes_in(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

ticket example_ticket() {
  return {.owner = 3, .id = 8, .bytes = 24, .layout = {{"tokens", dtype::i32, {2, 3}}}, .checksums = {77}};
}

template <class Message>
std::string sent(tests::deterministic_system& actors, const Message& message) {
  const auto bytes = actors::to_wire(actors.system, actors::envelope::of(message));
  return {bytes.begin(), bytes.end()};
}

reader of_messages() {
  const auto actors = std::make_shared<tests::deterministic_system>();
  auto& to = *actors;
  process_report report;
  report.lanes.push_back({.node = 2, .lane = "tcp/lo", .bytes_pulled = 24, .bytes_mapped = 0});
  report.trace.spans.push_back({"rollout/0", "decode", "compute", 1, 2, {{"tokens", 5}}});
  report.waits.push_back(
      {.who = "rules", .what = "columns", .on = {"rollout/0"}, .since_s = 1, .deadline_s = 2, .group = 7});
  return {
      .name = "message of a peer",
      .whole = {sent(to, prompt_row{.index = 4, .columns = example_ticket(), .data_source = "sums", .where = "a:1"}),
                sent(to, process_group{.group = 9, .attempt = 1, .columns = {example_ticket(), example_ticket()}}),
                sent(to, train_batch{.step = 3, .version = 2, .groups = {1, 2, 3, 4}}),
                sent(to,
                     batch_report{.complaint = "none", .metrics = {{"loss", 0.5}, {"kl", -1}}, .step_record = "{}"}),
                sent(to, report), sent(to, join_run{.token = "abc", .role = {"rollout", 1, 2}}),
                sent(to, role_ready{.who = {"rules", 1, 2}, .node = 3}),
                sent(to, start_roles{.roles = {{"rules", 0, 1}}, .checkpoint = "/x"})},
      .read = [actors](const std::string& bytes) {
        try {
          actors::from_wire(actors->system, {bytes.begin(), bytes.end()});
        } catch (const std::runtime_error& error) { // what actors refuse a message with
          throw input_error(error.what());
        }
      }};
}

} // namespace

readers wire_readers(const std::filesystem::path&) {
  const transport::node_address address{
      .life = 5, .ucx = std::vector<std::byte>(40, std::byte{7}), .door = "host/door"};
  const std::vector<std::size_t> places{0, 3, 11};
  return {
      of_messages(),
      {.name = "address of a node",
       .whole = {text_of(transport::write(address))},
       .read = [](const auto& bytes) { want(transport::read_address(bytes_in(bytes))); }},
      {.name = "greeting",
       .whole = {text_of(transport::write(transport::greeting{.connection = 9, .address = transport::write(address)}))},
       .read = [](const auto& bytes) { want(transport::read_greeting(bytes_in(bytes))); }},
      {.name = "header of a transfer",
       .whole = {text_of(std::as_bytes(std::span(std::make_unique<transport::message>().get(), 1)))},
       .read = [](const auto& bytes) { want(transport::read_message(bytes_in(bytes))); }},
      {.name = "places of columns",
       .whole = {text_of(transport::write_places(places, 12))},
       .read = [](const auto& bytes) { want(transport::read_places(bytes_in(bytes), 12)); }},
      {.name = "endpoint",
       .whole = {"10.0.0.2:7000", "127.0.0.1:0"},
       .read = [](const auto& bytes) { cluster::parse_endpoint(bytes); }},
      {.name = "list of hosts", .whole = {"gpu[1-3,08],x7", "r[0-1]n[2,1]-ib,mill-a"}, .read = [](const auto& bytes) {
         cluster::hosts_in(bytes);
       }}};
}

} // namespace millrace::fuzz
