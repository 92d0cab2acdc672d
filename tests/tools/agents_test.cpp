#include "runtime/telemetry/trajectories.hpp"
#include "tests/tools/tiny_run.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <doctest/doctest.h>

#include <set>
#include <sstream>

namespace agents_test {

using namespace millrace;
using namespace millrace::tests;

namespace {

/// Agents outside of the run: each takes an episode after another, asks for two turns and posts their rewards. The
/// first of them rewrites the history of its first episode. Prints what it saw as JSON.
constexpr const char* agents_source = R"py(
import http.client, json, sys, threading

host, agents, vanishing = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "vanish"
seen = {"done": 0, "gone": 0, "rewritten": 0, "torn": 0, "ended": 0}
lock = threading.Lock()

def count(what):
    with lock:
        seen[what] += 1

class Ended(Exception):
    pass

class Gone(Exception):
    pass

def post(path, body):
    connection = http.client.HTTPConnection(host, timeout=60)
    try:
        connection.connect()
    except OSError:
        raise Ended
    try:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        reply = connection.getresponse()
        said = reply.status, json.loads(reply.read())
    except (OSError, http.client.HTTPException):
        count("torn")
        raise Ended
    if said[0] == 503:
        count("ended")
        raise Ended
    if said[0] == 410:
        raise Gone
    return said

def episode(first):
    status, row = post("/v1/episodes", {})
    if status == 429:
        return
    url = "/v1/episodes/" + row["id"]
    messages, read = row["messages"], []
    for turn in range(2):
        status, reply = post(url + "/chat/completions", {"model": "any", "messages": messages, "temperature": 0.7,
                                                         "return_token_ids": True, "logprobs": True})
        assert status == 200, reply
        choice = reply["choices"][0]
        said, sampled, prompt = choice["message"], choice["token_ids"], reply["prompt_token_ids"]
        assert len(prompt) == reply["usage"]["prompt_tokens"], reply
        assert len(sampled) == len(choice["logprobs"]["content"]) == reply["usage"]["completion_tokens"], reply
        assert all(token["logprob"] <= 0 for token in choice["logprobs"]["content"]), reply
        assert all(token["bytes"] for token in choice["logprobs"]["content"]), reply
        if not (first and turn == 1):  # else its history is another one
            assert prompt[:len(read)] == read and len(prompt) > len(read), (read, prompt)
        read = prompt + sampled
        if first and vanishing:
            return
        if turn == 1:
            break
        post(url + "/reward", {"reward": 0.25, "done": False})
        if first:
            said = dict(said, content=said["content"] + "!")
            count("rewritten")
        messages = messages + [said, {"role": "user", "content": "more"}]
    assert post(url + "/reward", {"reward": len(set(said["content"].encode())) / 8})[0] == 200
    count("done")

def agent(number):
    first = number == 0
    while True:
        try:
            episode(first)
        except Gone:
            count("gone")
        except Ended:
            return
        first = False

threads = [threading.Thread(target=agent, args=(n,)) for n in range(agents)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(json.dumps(seen))
)py";

/// The tiny pipeline whose episodes are with agents.
struct agents_run {
  temporary_folder folder;
  tiny_run run;

  explicit agents_run(int steps, const std::string& more = "", const std::string& preset = "synchronous")
      : run({.steps = steps,
             .preset = preset,
             .max_new_tokens = 120,
             .source = "generator = { type = \"arithmetic\" }\n\n[roles.agents]\nkind = \"environment\"\n"
                       "from = [\"prompts\"]\ntype = \"endpoint\"\nserve = \"127.0.0.1:0\"\n"
                       + more}) {
    write_file(folder / "agents.py", agents_source);
  }

  strings start(const strings& more = {}) const {
    strings words{"--set", "roles.rollout.environment=agents",          "--set", "roles.rollout.max_turn_tokens=6",
                  "--set", "roles.rules.rules=[{type=\"environment\"}]"};
    words.insert(words.end(), more.begin(), more.end());
    return run.start(words);
  }

  static strings placed() {
    return {"--set", "placement.rollout.processes=2", "--set", "placement.agents.processes=1"};
  }

  /// Starts the agents once the run says where. @returns what they saw, when the run has ended
  nlohmann::json play(running_command& running, const std::string& how = "") const {
    const std::string mark = "clients find episodes at http://";
    CHECK(wait_until([&] { return running.err().find(mark) != std::string::npos || running.ended(); }, 60));
    const auto said = running.err();
    const auto at = said.find(mark) + mark.size();
    running_command agents({"/usr/bin/env", "python3", (folder / "agents.py").string(),
                            said.substr(at, said.find('/', at) - at), "20", how});
    const auto end = running.wait(120);
    CAPTURE(running.err());
    CHECK(end.status == 0);
    CHECK(agents.wait(60).status == 0);
    CAPTURE(agents.err());
    CHECK(agents.err() == "");
    return nlohmann::json::parse(agents.out());
  }
};

/// The rewards that a run trained with are those that the agents gave for the texts.
void check_rewards(const run_on_disk& files) {
  std::istringstream rows(telemetry::read_trajectories(files.folder() / "trajectories-1.jsonl.zst"));
  int answers = 0;
  for (std::string line; std::getline(rows, line);) {
    const auto group = nlohmann::json::parse(line);
    for (const auto& answer : group.at("answers")) {
      const auto text = answer.at("text").get<std::string>();
      const auto different = std::set<char>(text.begin(), text.end()).size();
      CHECK(answer.at("rewards").at("environment").get<double>() == 0.25 + static_cast<double>(different) / 8);
      ++answers;
    }
  }
  CHECK(answers > 0);
}

} // namespace

TEST_CASE("agents that know nothing of the run are trained through its endpoint") {
  constexpr int steps = 4;
  const agents_run playing(steps);
  running_command running(playing.start(agents_run::placed()));
  const auto seen = playing.play(running);
  CAPTURE(running.err());
  CAPTURE(seen);
  CHECK(seen.at("done").get<int>() >= 4 * groups_per_step * steps);
  CHECK(seen.at("rewritten") == 1);
  CHECK(seen.at("torn") == 0); // nobody was left without a reply
  const auto files = playing.run.files();
  check_each_group_once(files, steps);
  check_rewards(files);
  const auto row = files.metrics().back();
  CHECK(row.at("episodes/turns") == 2);
  CHECK(row.at("tokens/observed").get<double>() > 0);
  CHECK(row.at("episodes/rewritten_histories") == 1);
  double segments = 0;
  for (const auto& step : files.metrics())
    segments = std::max(segments, step.value("episodes/segments", 0.0));
  CHECK(segments > 1);
  CHECK(running.err().find("has rewritten its history (messages[") != std::string::npos);
  CHECK(running.err().find("requests say temperature: the pipeline's sampling holds") != std::string::npos);
  CHECK(files.status().at("ledger").at("live") == 0);
  const auto again = run_to_end(command_line({"replay", files.folder().string()}), 120);
  CAPTURE(again.err);
  CHECK(again.status == 0);
}

TEST_CASE("an agent that vanishes costs its group an attempt, and its group is trained once") {
  constexpr int steps = 2;
  const agents_run playing(steps, "deadline_ms = 3000");
  running_command running(playing.start());
  const auto seen = playing.play(running, "vanish");
  CAPTURE(running.err());
  CAPTURE(seen);
  CHECK(running.err().find("begins anew: its environment: the client of episode ep-") != std::string::npos);
  CHECK(running.err().find(" did not go on within 3 s") != std::string::npos);
  CHECK(seen.at("torn") == 0);
  check_each_group_once(playing.run.files(), steps);
  CHECK(playing.run.files().status().at("ledger").at("live") == 0);
}

TEST_CASE("episodes with agents that nobody can begin are refused in one line") {
  const agents_run playing(1);
  strings more;
  for (const char* set :
       {"roles.learner.publishes_to=[\"rollout\", \"held_out\"]", "roles.held_out.kind=evaluation",
        "roles.held_out.model=tiny", "roles.held_out.generator={type = \"arithmetic\"}", "roles.held_out.rows=6",
        "roles.held_out.environment=agents", "roles.held_out.rules=[{type = \"environment\"}]"})
    more.insert(more.end(), {"--set", set});
  const auto evaluated = run_to_end(playing.start(more));
  CHECK(evaluated.status == 1);
  CHECK(
      evaluated.err.find("roles.held_out.environment: found \"agents\" of type \"endpoint\", which plays with clients "
                         "of the run, want one that plays by itself")
      != std::string::npos);
  const auto two = run_to_end(playing.start({"--set", "placement.agents.processes=2"}));
  CHECK(two.status == 1);
  CHECK(two.err.find("placement.agents: found 2 processes, want 1: each would take the address of `serve`")
        != std::string::npos);
  const auto reached = run_to_end(playing.start({"--set", "roles.agents.serve=0.0.0.0:8000"}));
  CHECK(reached.status == 1);
  CHECK(reached.err.find("serve: found '0.0.0.0:8000', which others can reach") != std::string::npos);
  const auto no_token = run_to_end(playing.start({"--set", "roles.agents.token_file=/nowhere/token"}));
  CHECK(no_token.status == 1);
  CHECK(no_token.err.find("environment endpoint: ") != std::string::npos);
  CHECK(no_token.err.find("/nowhere/token") != std::string::npos);
  boost::asio::io_context loop;
  const boost::asio::ip::tcp::acceptor taken(loop, {boost::asio::ip::address_v4::loopback(), 0});
  const auto at = "127.0.0.1:" + std::to_string(taken.local_endpoint().port());
  const auto in_use = run_to_end(playing.start({"--set", "roles.agents.serve=" + at}), 60);
  CHECK(in_use.status == 1);
  CHECK(in_use.err.find("environment endpoint: cannot listen on " + at + " (Address already in use)")
        != std::string::npos);
}

} // namespace agents_test
