#include "tests/tools/tiny_run.hpp"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <limits>
#include <optional>
#include <regex>
#include <sstream>
#include <utility>

namespace bad_input_test {

using namespace millrace::tests;

namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// What is said last: a line that starts with "millrace: ", or with the place of a mistake in a pipeline.
std::string last_line(const std::string& err) {
  std::string last;
  std::istringstream in(err);
  for (std::string line; std::getline(in, line);)
    last = line;
  return last;
}

/// Runs it, wants exit status 1 and a last line that holds all of `words`.
void check_refused(const strings& command, const strings& words) {
  const auto done = run_to_end(command);
  CAPTURE(done.err);
  CHECK(done.status == 1);
  for (const auto& word : words)
    CHECK_MESSAGE(contains(last_line(done.err), word), word);
  CHECK_FALSE(contains(done.err, "next\n")); // no summary of a run that was none
}

/// Whether a check finds it too, or only what a run does alone: reads every weight, makes prompts of all rows,
/// connects.
enum class found_by { check_and_run, run_alone };

/// The same for `run`, and for `check` before it; afterwards the folder holds no run and can be given again.
void check_run_refused(const tiny_run& run, const strings& sets, const strings& words,
                       found_by whom = found_by::check_and_run) {
  check_refused(run.start(sets), words);
  if (whom == found_by::check_and_run)
    check_refused(run.check(sets), words);
  CHECK_FALSE(std::filesystem::exists(run.files().folder() / "resolved.toml"));
  CHECK_FALSE(std::filesystem::exists(run.files().folder() / "checkpoints"));
}

strings set(const std::string& what) {
  return {"--set", what};
}

/// A copy of the tiny model to be spoilt.
class spoilt_model {
public:
  spoilt_model() { std::filesystem::copy(tiny_model(), folder_ / "model"); }

  std::filesystem::path operator/(std::string_view name) const { return folder_ / "model" / name; }

  strings as_model() const { return set("models.tiny.path=" + (folder_ / "model").string()); }

  void edit(std::string_view file, const std::string& old_text, const std::string& new_text) const {
    auto text = read_file(*this / file);
    const auto at = text.find(old_text);
    REQUIRE(at != std::string::npos);
    write_file(*this / file, text.replace(at, old_text.size(), new_text));
  }

private:
  temporary_folder folder_;
};

std::string row(const std::string& question, const std::string& answer) {
  return nlohmann::json{{"prompt", {{{"role", "user"}, {"content", question}}}},
                        {"reward_model", {{"ground_truth", answer}}},
                        {"data_source", "test"}}
             .dump()
         + "\n";
}

/// A pipeline whose source reads these bytes.
class run_with_rows {
public:
  explicit run_with_rows(std::string_view rows) {
    write_file(folder_ / "rows.jsonl", rows);
    run_.emplace(tiny_pipeline{
        .steps = 3, .source = "file = \"" + path().string() + "\"\n" + "max_prompt_tokens = 100\nshuffle = false"});
  }

  const tiny_run& run() const { return *run_; }

  std::filesystem::path path() const { return folder_ / "rows.jsonl"; }

private:
  temporary_folder folder_;
  std::optional<tiny_run> run_;
};

/// A TCP port of loopback that somebody listens on.
class taken_port {
public:
  taken_port() : socket_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in here{};
    here.sin_family = AF_INET;
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof here;
    REQUIRE(bind(socket_, reinterpret_cast<sockaddr*>(&here), size) == 0);
    REQUIRE(listen(socket_, 1) == 0);
    REQUIRE(getsockname(socket_, reinterpret_cast<sockaddr*>(&here), &size) == 0);
    number_ = ntohs(here.sin_port);
  }

  ~taken_port() { close(socket_); }

  std::string address() const { return "127.0.0.1:" + std::to_string(number_); }

private:
  int socket_;
  std::uint16_t number_ = 0;
};

void write_secret(const std::filesystem::path& path, char letter) {
  write_file(path, std::string(64, letter) + "\n");
  std::filesystem::permissions(path, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
}

} // namespace

// -- models -----------------------------------------------------------------------------------------------------------

TEST_CASE("a model that is missing, cut off or of an unknown kind ends the run with a line that names the file") {
  const tiny_run run;
  check_run_refused(run, set("models.tiny.path=/nowhere/at/all"), {"models.tiny.path", "/nowhere/at/all"});
  {
    const spoilt_model model;
    std::filesystem::resize_file(model / "model.safetensors", 50000);
    check_run_refused(run, model.as_model(), {(model / "model.safetensors").string(), "truncated?"});
  }
  {
    const spoilt_model model;
    model.edit("config.json", "LlamaForCausalLM", "MambaForCausalLM");
    check_run_refused(run, model.as_model(),
                      {(model / "config.json").string(), "MambaForCausalLM", "LlamaForCausalLM"});
  }
  {
    const spoilt_model model;
    model.edit("config.json", "\"hidden_size\": 32", "\"hidden_size\": 64");
    check_run_refused(run, model.as_model(), {"model.embed_tokens.weight", "64"});
  }
  {
    const spoilt_model model;
    write_file(model / "chat_template.jinja", "{{ messages }}");
    check_run_refused(run, model.as_model(), {"chat template", "chatml", "chat_template = "});
  }
  CHECK(run_to_end(run.start()).status == 0); // the folder was given again and again, and still can be
}

TEST_CASE("RDMA on a machine without a device for it: the key's place, and the devices that are there") {
  if (std::error_code none; !std::filesystem::is_empty("/sys/class/infiniband", none) && !none) {
    MESSAGE("skipped: this machine has RDMA devices");
    return;
  }
  const tiny_run run;
  check_run_refused(
      run, set("placement.transport=rdma"),
      {"placement.transport: found \"rdma\" on a machine without an RDMA device that is up", "lo 127.0.0.1"},
      found_by::run_alone);
}

TEST_CASE("a NaN in the weights is found before anything is generated or trained") {
  const spoilt_model model;
  auto bytes = read_file(model / "model.safetensors");
  std::uint64_t header = 0;
  std::memcpy(&header, bytes.data(), sizeof header);
  const auto about = nlohmann::json::parse(bytes.substr(8, header)).at("model.layers.1.mlp.up_proj.weight");
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::memcpy(bytes.data() + 8 + header + about.at("data_offsets").at(0).get<std::size_t>() + 40, &nan, sizeof nan);
  write_file(model / "model.safetensors", bytes);
  check_run_refused(tiny_run(), model.as_model(), {"model.layers.1.mlp.up_proj.weight", "NaN"}, found_by::run_alone);
  check_refused(command_line({"generate", (model / "").string(), "--prompt", "hi"}),
                {"model.layers.1.mlp.up_proj.weight", "NaN"});
}

TEST_CASE("a tokenizer with more tokens than the embedding has rows is refused") {
  const spoilt_model model;
  auto words = nlohmann::json::parse(read_file(model / "tokenizer.json"));
  auto extra = words.at("added_tokens").at(0);
  extra["id"] = 400;
  extra["content"] = "<|extra|>";
  words.at("added_tokens").push_back(extra);
  write_file(model / "tokenizer.json", words.dump());
  check_run_refused(tiny_run(), model.as_model(), {"tokenizer", "401", "313"});
}

// -- data -------------------------------------------------------------------------------------------------------------

TEST_CASE("a data file that is missing, empty or holds no usable row ends the run") {
  const tiny_run missing({.source = "file = \"nowhere.jsonl\""});
  check_run_refused(missing, {}, {"roles.prompts.file", "nowhere.jsonl"});
  const run_with_rows empty("");
  check_run_refused(empty.run(), {}, {empty.path().string(), "no row"});
  const run_with_rows useless("{\"question\": 1}\n{\"question\": 2}\n");
  check_run_refused(useless.run(), {}, {useless.path().string(), "none of its 2 rows"});
}

TEST_CASE("a file whose expected answers no rule can read ends the run before anything is generated") {
  const run_with_rows data(row("one", "uno") + row("two", "dos"));
  check_run_refused(data.run(), {"--set", "roles.rules.rules=[{type=\"number\"}]"},
                    {data.path().string(), "none of its 2 rows"});
  CHECK(data.run().files().status().at("state") == "failed");
  CHECK(data.run().files().status().at("why").get<std::string>().find("none of its 2 rows") != std::string::npos);
  CHECK(data.run().files().log().find("none of its 2 rows") != std::string::npos);
  const auto status = run_to_end(command_line({"status", data.run().files().folder().string()}));
  CHECK(status.status == 0);
  CHECK((status.out + status.err).find("it failed: ") != std::string::npos);
}

TEST_CASE("rows without an answer, of broken text or too long are skipped, counted and named; the run goes on") {
  const run_with_rows data(
      row("one", "1") + "{\"prompt\":[{\"role\":\"user\",\"content\":\"no answer\"}]}\n" + row("two", "2")
      + "{\"prompt\":[{\"role\":\"user\",\"content\":\"\xff\xfe\"}],\"answer\":\"1\"}\n"
      + row(std::string(3000, 'x'), "9") + "{\"prompt\": [broken\n" + row("three", "3") + row("four", "4"));
  const auto done = run_to_end(data.run().start());
  CAPTURE(done.err);
  REQUIRE(done.status == 0);
  CHECK(data.run().files().steps() == 3);
  const auto at = [&](int line) { return data.path().string() + ":" + std::to_string(line) + ": "; };
  CHECK(contains(done.err, at(2) + "no answer"));
  CHECK(contains(done.err, at(4) + "not UTF-8"));
  CHECK(contains(done.err, at(5) + "group "));
  CHECK(contains(done.err, "a prompt of 3009 tokens, want at most max_prompt_tokens = 100"));
  CHECK(contains(done.err, at(6) + "not JSON"));
  CHECK(std::regex_search(done.err, std::regex("rows left out: prompt refused [1-9][0-9]*, unusable row [1-9]")));
}

TEST_CASE("data of which no prompt fits ends the run instead of being read for ever") {
  const run_with_rows data(row(std::string(3000, 'x'), "9"));
  check_run_refused(data.run(), {}, {"1000 prompts in a row were refused", "a prompt of 3009 tokens"},
                    found_by::run_alone);
}

TEST_CASE("a prompt that leaves no room in the model's context is refused") {
  const run_with_rows data(row("short", "1") + row(std::string(700, 'x'), "9"));
  const auto done = run_to_end(data.run().start({"--set", "roles.prompts.max_prompt_tokens=5000"}));
  CAPTURE(done.err);
  CHECK(done.status == 0);
  CHECK(contains(done.err, "in a context of 512"));
}

// -- the folder, the file, the command line ---------------------------------------------------------------------------

TEST_CASE("a folder is one run's: a second run is refused, at once and later") {
  const tiny_run run({.steps = 1000});
  {
    running_command first(run.start());
    REQUIRE(reaches(first, run.files(), 1));
    check_refused(run.start(), {"in use by process " + std::to_string(first.pid())});
    check_refused(run.resume(), {"in use by process " + std::to_string(first.pid())});
    const auto before = run.files().steps();
    CHECK(reaches(first, run.files(), before + 1)); // undisturbed
  }
  check_refused(run.start(), {"already holds a run", "millrace resume"});
  const temporary_folder other;
  write_file(other / "letter.txt", "dear reader");
  check_refused(command_line({"resume", other.path().string()}), {"holds no run"});
  check_refused(command_line({"run", (run / "tiny.toml").string(), "--output", other.path().string()}), {"not empty"});
  CHECK(read_file(other / "letter.txt") == "dear reader");
}

TEST_CASE("mistakes in a pipeline are told in one go, with what was probably meant, before anything is made") {
  const tiny_run run;
  const auto done = run_to_end(run.start({"--set", "roles.rollout.slot=3", "--set", "roles.rules.from=[\"rolout\"]"}));
  CAPTURE(done.err);
  CHECK(done.status == 1);
  CHECK(contains(done.err, "did you mean \"slots\"?"));
  CHECK(contains(done.err, "no role \"rolout\""));
  CHECK_FALSE(std::filesystem::exists(run.files().folder()));
}

TEST_CASE("a rule or a generator that cannot be used is told at its place in the pipeline") {
  const tiny_run run({.steps = 3,
                      .source = "python = \"/no/python\"\n"
                                "generator = { type = \"reasoning_gym\", dataset = \"doubling\" }"});
  check_run_refused(run, {},
                    {(run / "tiny.toml").string() + ":",
                     ":13: roles.prompts.generator: reasoning_gym/doubling: the Python that reads it (/no/python)"});
  const tiny_run other;
  check_run_refused(other, set("roles.rules.rules=[{type=\"python\",file=\"/no/such.py\"}]"),
                    {"/no/such.py\"}]: roles.rules.rules.0: rule python: found no file /no/such.py"});
}

// -- processes --------------------------------------------------------------------------------------------------------

TEST_CASE("a node says so when its port is in use or its secret is none") {
  const temporary_folder folder;
  write_secret(folder / "secret", 'a');
  const taken_port port;
  check_refused(command_line({"node", "--listen", port.address(), "--secret-file", (folder / "secret").string()}),
                {port.address(), "in use"});
  check_refused(command_line({"node", "--listen", "127.0.0.1:0", "--secret-file", (folder / "none").string()}),
                {(folder / "none").string()});
  write_secret(folder / "short", 'a');
  std::filesystem::resize_file(folder / "short", 3);
  check_refused(command_line({"node", "--listen", "127.0.0.1:0", "--secret-file", (folder / "short").string()}),
                {(folder / "short").string(), "3 bytes"});
}

TEST_CASE("a node lets in who holds its secret, and nobody else") {
  const temporary_folder folder;
  write_secret(folder / "secret", 'a');
  write_secret(folder / "other", 'b');
  const auto secret = (folder / "secret").string();
  running_command node(command_line({"node", "--listen", "127.0.0.1:0", "--secret-file", secret}));
  std::smatch found;
  std::string heard;
  const std::regex listening("listening on (127.0.0.1:[0-9]+)");
  REQUIRE(wait_until([&] { return std::regex_search(heard = node.err(), found, listening); }, 10));
  const std::string hosts = "placement.rollout.hosts=[\"" + found[1].str() + "\"]";

  check_run_refused(tiny_run(), {"--set", hosts, "--set", "placement.secret_file=" + (folder / "other").string()},
                    {"node " + found[1].str(), "secret"}, found_by::run_alone);
  check_run_refused(tiny_run(),
                    {"--set", "placement.rollout.hosts=[\"127.0.0.1:1\"]", "--set", "placement.secret_file=" + secret,
                     "--set", "placement.connect_timeout_s=0"},
                    {"node 127.0.0.1:1", "nobody listens"}, found_by::run_alone);

  const tiny_run alone, there;
  REQUIRE(run_to_end(alone.start()).status == 0);
  const auto done = run_to_end(there.start({"--set", hosts, "--set", "placement.secret_file=" + secret}));
  CAPTURE(done.err);
  CAPTURE(node.err());
  REQUIRE(done.status == 0);
  CHECK(contains(done.err, "rollout/0    started as process"));
  CHECK(there.files().learning_curve() == alone.files().learning_curve());
  CHECK_FALSE(node.ended().has_value()); // it serves the next run

  node.signal(SIGINT);
  CHECK(node.wait(5).status == 0);
}

TEST_CASE("a placed process that dies at start, again and again, ends the run") {
  const tiny_run run;
  running_command running(run.start({"--set", "placement.rollout.processes=1"}));
  pid_t last = 0;
  REQUIRE(wait_until([&] {
    const auto pid = run.files().process_of("rollout/0");
    if (pid != std::exchange(last, pid))
      kill(pid, SIGKILL);
    return running.ended().has_value();
  }));
  CAPTURE(running.err());
  CHECK(running.ended()->status == 1);
  CHECK(std::regex_search(last_line(running.err()),
                          std::regex("rollout/0 died [0-9] times in a row before it was ready.*signal 9")));
}

// -- whatever is read -------------------------------------------------------------------------------------------------

TEST_CASE("no command dies of deep nesting") {
  const temporary_folder folder;
  const auto deep = (folder / "deep.json").string(), run = (folder / "run").string();
  std::filesystem::create_directories(run);
  write_file(folder / "deep.json", std::string(1'000'000, '['));
  write_file(folder / "run/resolved.toml", text_of({}));
  for (const char* file : {"status.json", "metrics.jsonl", "trace.json", "replay.jsonl"})
    write_file(folder / "run" / file, std::string(1'000'000, '[') + "\n");
  const auto model = tiny_model().string();
  check_refused(command_line({"algorithm", "eval", "grpo", deep}), {"nested deeper than 64"});
  check_refused(command_line({"generate", model, "--file", deep}), {"deep.json:1", "no JSON"});
  check_refused(command_line({"score", model, "--file", deep}), {"deep.json:1", "no JSON"});
  check_refused(command_line({"tokenize", model, "--json", "--file", deep}), {"deep.json:1", "no JSON string"});
  check_refused(command_line({"tokenize", model, "--decode", "--file", deep}), {"deep.json:1", "no JSON array"});
  check_refused(command_line({"report", run}), {"trace.json:1", "not a JSON object"});
  check_refused(command_line({"replay", run}), {"replay.jsonl", "no step is recorded"});
  CHECK(run_to_end(command_line({"status", run})).status == 0);
}

TEST_CASE("control characters of files and arguments never reach the terminal raw") {
  const auto is_plain = [](const finished_command& done) {
    const auto text = done.out + done.err;
    return std::all_of(text.begin(), text.end(), [](unsigned char c) { return (c >= 0x20 && c != 0x7f) || c == '\n'; })
           && !contains(text, "\xc2\x9b");
  };
  const temporary_folder folder;
  std::filesystem::create_directories(folder / "run");
  write_file(folder / "run/resolved.toml", text_of({}));
  write_file(folder / "run/metrics.jsonl", "{\"step\":1,\"a\\u001b[5m\\u009b1m\":1}\n");
  const std::string steers = "\x1b[2J\xc2\x9b"
                             "31m\r";
  const auto status = run_to_end(command_line({"status", (folder / "run").string()}));
  CHECK(contains(status.out + status.err, "a\\x1b[5m\\xc2\\x9b1m"));
  CHECK(is_plain(status));
  for (const strings& command :
       {strings{"check", steers}, strings{"report", steers}, strings{"generate", steers, "--prompt", "x"},
        strings{"tokenize", tiny_model().string(), "--decode", "--text", steers}}) {
    const auto done = run_to_end(command_line(command));
    CAPTURE(done.err);
    CHECK(done.status == 1);
    CHECK(is_plain(done));
  }
}

TEST_CASE("a bad regular expression over parameters is named by check where it stands") {
  const temporary_folder folder;
  const auto file = folder.path() / "p.toml";
  const auto wrong = [&](const std::string& was, const std::string& is) {
    auto text = text_of({});
    text.replace(text.find(was), was.size(), is);
    write_file(file, text);
    const auto done = run_to_end(command_line({"check", file.string()}));
    CHECK(done.status == 1);
    return done.err;
  };
  const std::string optimizer = "optimizer = { lr = 0.002 }";
  const auto of_group = wrong(optimizer, "optimizer = { groups = [{ match = \"(\", lr = 0.1 }] }");
  CAPTURE(of_group);
  CHECK(std::regex_search(
      of_group, std::regex("p\\.toml:[0-9]+:35: roles\\.learner\\.optimizer\\.groups\\.0\\.match: found \"\\(\"")));
  const auto of_lora = wrong(optimizer, optimizer + "\nlora = { targets = \"*_proj\" }");
  CAPTURE(of_lora);
  CHECK(std::regex_search(of_lora, std::regex("p\\.toml:[0-9]+:20: roles\\.learner\\.lora\\.targets: found")));
}

} // namespace bad_input_test
