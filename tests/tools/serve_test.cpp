#include "tests/tools/tiny_run.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <csignal>
#include <fstream>

namespace serve_test {

using namespace millrace::tests;

namespace {

constexpr const char* model = "tests/golden/models/tiny-chat";

/// What the server says to a GET, or to a POST of a body.
std::string asked(const std::string& url, const std::string& body = "") {
  constexpr const char* ask = "import sys, urllib.request as u\n"
                              "body = sys.argv[2].encode() or None\n"
                              "r = u.Request(sys.argv[1], body, {'Content-Type': 'application/json'})\n"
                              "sys.stdout.write(u.urlopen(r, timeout=20).read().decode())";
  const auto done = run_to_end({"/usr/bin/env", "python3", "-c", ask, url, body});
  CAPTURE(done.err);
  CHECK(done.status == 0);
  return done.out;
}

std::string line_of(const strings& arguments) {
  const auto done = run_to_end(command_line(arguments));
  CHECK(done.status == 1);
  return done.err;
}

} // namespace

TEST_CASE("serve answers as generate does, and ends when it is told to") {
  running_command server(command_line({"serve", model, "--listen", "127.0.0.1:0"}));
  REQUIRE(wait_until([&] { return server.out().find('\n') != std::string::npos || server.ended(); }));
  CAPTURE(server.err());
  const auto said = server.out();
  REQUIRE(said.starts_with("http://127.0.0.1:"));
  REQUIRE(said.ends_with(" serves tiny-chat\n"));
  const auto url = said.substr(0, said.find(' '));
  const nlohmann::json body{
      {"messages", {{{"role", "user"}, {"content", "say it"}}}}, {"max_tokens", 12}, {"temperature", 0}};
  const auto reply = nlohmann::json::parse(asked(url + "/v1/chat/completions", body.dump()));
  const auto generated =
      nlohmann::json::parse(run_to_end(command_line({"generate", model, "--prompt", "say it", "--max-new-tokens", "12",
                                                     "--temperature", "0"}))
                                .out);
  CHECK(reply["choices"][0]["message"]["content"] == generated["answers"][0]["text"]);
  CHECK(asked(url + "/health") == R"({"status":"ok"})");
  server.signal(SIGTERM);
  CHECK(server.wait().status == 0);
}

TEST_CASE("what serve cannot do is one line") {
  const temporary_folder folder;
  CHECK(line_of({"serve", model, "--listen", "8000"})
        == "millrace: --listen: found '8000', want an address of this host and a port: 127.0.0.1:8000\n");
  CHECK(line_of({"serve", model, "--listen", "0.0.0.0:0"})
        == "millrace: --listen 0.0.0.0:0: others can reach that address, want --token-file too, or 127.0.0.1\n");
  std::ofstream(folder.path() / "short") << "abc\n";
  CHECK(line_of({"serve", model, "--token-file", (folder.path() / "short").string()})
            .ends_with("want a token of 16 to 256 letters, digits, '-', '_' and '.'\n"));
  CHECK(line_of({"serve", "no such model"}).starts_with("millrace: no such model: "));
}

} // namespace serve_test
