#include "tests/support/http_client.hpp"
#include "tests/tools/tiny_run.hpp"

#include <boost/system/system_error.hpp>
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <optional>

namespace clients_test {

using namespace millrace;
using namespace millrace::tests;
using nlohmann::json;

namespace {

constexpr const char* chat_route = "/v1/chat/completions";

const strings served{"--set", "roles.rollout.serve=127.0.0.1:0"};

std::string question(const json& more = json::object()) {
  json body{{"model", "any"}, {"messages", {{{"role", "user"}, {"content", "2 + 3"}}}}, {"max_tokens", 12}};
  body.update(more);
  return body.dump();
}

/// Where a rollout said that it serves clients.
std::uint16_t port_of(running_command& running, const std::string& rollout = "rollout/0") {
  const std::string mark = "clients may ask its policy at http://127.0.0.1:";
  const auto line = [&] {
    const auto said = running.err();
    for (auto at = said.find(mark); at != std::string::npos; at = said.find(mark, at + 1))
      if (const auto begin = said.rfind('\n', at);
          said.substr(begin + 1, at - begin).find(rollout) != std::string::npos)
        return said.substr(at + mark.size(), 5);
    return std::string();
  };
  REQUIRE(wait_until([&] { return !line().empty() || running.ended(); }, 60));
  CAPTURE(running.err());
  return static_cast<std::uint16_t>(std::stoi(line()));
}

} // namespace

TEST_CASE("a run's policy answers clients beside it, and learns as if there were none") {
  const tiny_pipeline about{.steps = 150};
  const tiny_run alone(about), shared(about);
  CHECK(run_to_end(alone.start(), 60).status == 0);
  running_command running(shared.start(served));
  http_client client(port_of(running));
  CHECK(client.ask(http_client::verb::get, "/v1/models").parsed()["data"][0]["id"] == "tiny");
  std::int64_t tokens = 0;
  for (int i = 0; i < 5; ++i) {
    const auto reply = client.ask(http_client::verb::post, chat_route, question({{"ignore_eos", true}}));
    REQUIRE(reply.status == 200);
    tokens += reply.parsed()["usage"]["completion_tokens"].get<std::int64_t>();
  }
  CHECK(tokens == 5 * 12);
  // The ids of a prompt say the same as its text, and each token has its log-probability.
  const auto whole = client
                         .ask(http_client::verb::post, chat_route,
                              question({{"temperature", 0}, {"logprobs", true}, {"return_token_ids", true}}))
                         .parsed();
  CHECK(whole["choices"][0]["logprobs"]["content"].size() == whole["choices"][0]["token_ids"].size());
  tokens += whole["usage"]["completion_tokens"].get<std::int64_t>();
  const auto many = client.ask(http_client::verb::post, chat_route, question({{"n", 9}}));
  CHECK(many.status == 400);
  CHECK(many.error() == "n: found 9, want an integer from 1 to 8");
  const auto before = shared.files().steps();
  CHECK(before < 145); // else the run ended before all was counted
  CHECK(running.wait(60).status == 0);
  CAPTURE(running.err());
  CHECK(shared.files().learning_curve() == alone.files().learning_curve());
  CHECK(shared.files().metrics().back().at("clients/tokens") == tokens);
  CHECK(!alone.files().metrics().back().contains("clients/tokens"));
  check_each_group_once(shared.files(), about.steps);
  CHECK(shared.files().status().at("ledger").at("live") == 0);
}

TEST_CASE("clients of several rollouts in processes of their own go on to the run's end, and are told of it") {
  const tiny_run shared({.steps = 40, .preset = "one_step_off"});
  running_command running(
      shared.start(with(served, {"--set", "placement.rollout.processes=2", "--set", "roles.rollout.serve_slots=2"})));
  for (const auto* rollout : {"rollout/0", "rollout/1"}) {
    http_client client(port_of(running, rollout));
    CHECK(client.ask(http_client::verb::post, chat_route, question()).status == 200);
  }
  http_client client(port_of(running, "rollout/1"));
  std::optional<http_reply> last;
  try {
    do
      last = client.ask(http_client::verb::post, chat_route, question({{"max_tokens", 2000}, {"ignore_eos", true}}));
    while (last->status == 200);
    CHECK(last->status == 503);
    CHECK(last->error() == "the run has ended");
  } catch (const boost::system::system_error&) { // between two requests
  }
  CHECK(running.wait(60).status == 0);
  CAPTURE(running.err());
  CHECK(shared.files().metrics().back().at("clients/tokens").get<std::int64_t>() > 0);
  CHECK(shared.files().status().at("ledger").at("live") == 0);
}

TEST_CASE("an address for clients that cannot be is one line at its place") {
  const tiny_run run;
  const auto said = [&](const strings& more) { return run_to_end(run.check(more)).err; };
  CHECK(said({"--set", "roles.rollout.serve=everywhere"})
            .find("roles.rollout.serve: found \"everywhere\", want an IP address and a port")
        != std::string::npos);
  CHECK(said({"--set", "roles.rollout.serve=0.0.0.0:8000"})
            .find("roles.rollout.serve: found \"0.0.0.0:8000\" without roles.rollout.token_file")
        != std::string::npos);
  CHECK(said({"--set", "roles.rollout.serve_slots=3"})
            .find("roles.rollout.serve_slots: found it without roles.rollout.serve")
        != std::string::npos);
  // Clients that ask without a pause would keep every slot from the run.
  CHECK(said(with(served, {"--set", "roles.rollout.slots=8"}))
            .find("roles.rollout.serve_slots: found 8 with slots = 8, want fewer: clients must leave the run a slot")
        != std::string::npos);
  CHECK(run_to_end(run.check(with(served, {"--set", "roles.rollout.slots=9"}))).status == 0);
  const strings last_port{"--set", "roles.rollout.serve=127.0.0.1:65534", "--set"};
  CHECK(said(with(last_port, {"placement.rollout.processes=3"}))
            .find("roles.rollout.serve: found \"127.0.0.1:65534\", want a port for each process")
        != std::string::npos);
  CHECK(run_to_end(run.check(with(last_port, {"placement.rollout.processes=2"}))).status == 0);
  CHECK(said({"--set", "roles.rollout.serve=127.0.0.1:8000", "--set", "roles.rollout.token_file=none.txt"})
            .find("roles.rollout.token_file: ")
        != std::string::npos);
}

TEST_CASE("a port that somebody has ends the run before it begins, in one line") {
  boost::asio::io_context loop;
  const boost::asio::ip::tcp::acceptor taken(loop, {boost::asio::ip::address_v4::loopback(), 0});
  const tiny_run run;
  const auto end = run_to_end(
      run.start({"--set", "roles.rollout.serve=127.0.0.1:" + std::to_string(taken.local_endpoint().port())}), 60);
  CAPTURE(end.err);
  CHECK(end.status == 1);
  CHECK(end.err.find("127.0.0.1:" + std::to_string(taken.local_endpoint().port())) != std::string::npos);
}

} // namespace clients_test
