#include "tests/tools/tiny_run.hpp"

#include "runtime/telemetry/trajectories.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <map>
#include <random>
#include <sstream>

namespace millrace::tests {

std::filesystem::path program() {
  const char* another = std::getenv("MILLRACE_PROGRAM");
  return another ? another : MILLRACE_BINARY;
}

std::filesystem::path tiny_model() {
  return std::filesystem::absolute("tests/golden/models/tiny-chat");
}

strings command_line(const strings& arguments) {
  strings command{program().string()};
  command.insert(command.end(), arguments.begin(), arguments.end());
  return command;
}

std::string text_of(const tiny_pipeline& p) {
  std::ostringstream text;
  text << "[run]\nname = \"tiny\"\nseed = 7\nsteps = " << p.steps << '\n'
       << p.run << "\n[models.tiny]\npath = \"" << p.model.string() << "\"\n"
       << "[roles.prompts]\nkind = \"source\"\n"
       << p.source << '\n'
       << "[roles.rollout]\nkind = \"rollout\"\nfrom = [\"prompts\"]\nmodel = \"tiny\"\nanswers_per_prompt = 4\n"
       << "max_new_tokens = " << p.max_new_tokens << "\nslots = 16\n"
       << "[roles.rules]\nkind = \"rule_verifier\"\nfrom = [\"rollout\"]\n"
       << "rules = [ { type = \"format\", pattern = \"[a-e0-9]\", match = \"search\" },"
       << " { name = \"late\", type = \"format\", pattern = \"[f-p]\", match = \"search\", weight = 0.5 } ]\n";
  if (p.reference)
    text << "[roles.frozen]\nkind = \"reference\"\nfrom = [\"rollout\"]\nmodel = \"tiny\"\n";
  if (p.critic)
    text << "[roles.critic]\nkind = \"critic\"\nfrom = [\"rollout\"]\nmodel = \"tiny\"\noptimizer = { lr = 0.005 }\n";
  text << "[roles.learner]\nkind = \"policy\"\nfrom = [\"rules\"" << (p.reference ? ", \"frozen\"" : "")
       << (p.critic ? ", \"critic\"" : "") << "]\nmodel = \"tiny\"\npublishes_to = [\"rollout\"]\nalgorithm = \""
       << (p.critic ? "ppo" : "grpo") << "\"\noptimizer = { lr = 0.002 }\n";
  if (p.reference)
    text << "loss = { kl_coefficient = 0.1 }\n";
  text << "[schedule]\npreset = \"" << p.preset << "\"\ngroups_per_step = " << groups_per_step << '\n';
  return text.str();
}

strings with(strings words, const strings& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

strings placed_apart(bool reference) {
  strings sets{"--set", "placement.rollout.processes=2", "--set", "placement.rules.processes=1",
               "--set", "placement.learner.processes=1"};
  if (reference)
    sets.insert(sets.end(), {"--set", "placement.frozen.processes=1"});
  return sets;
}

// -- a run's files ----------------------------------------------------------------------------------------------------

std::vector<nlohmann::ordered_json> run_on_disk::metrics() const {
  std::vector<nlohmann::ordered_json> rows;
  std::istringstream lines(read_file(folder_ / "metrics.jsonl"));
  for (std::string line; std::getline(lines, line) && !lines.eof();)
    rows.push_back(nlohmann::ordered_json::parse(line));
  return rows;
}

std::size_t run_on_disk::steps() const {
  const auto rows = metrics();
  return static_cast<std::size_t>(
      std::count_if(rows.begin(), rows.end(), [](const auto& row) { return row.contains("policy/version"); }));
}

nlohmann::json run_on_disk::status() const {
  auto status = nlohmann::json::parse(read_file(folder_ / "status.json"), nullptr, false);
  return status.is_object() ? status : nlohmann::json::object();
}

std::string run_on_disk::log() const {
  return read_file(folder_ / "log.txt");
}

strings run_on_disk::learning_curve() const {
  strings curve;
  for (const auto& row : metrics()) {
    std::string point;
    for (const char* name : {"step", "reward", "reward_std", "actor/pg_loss", "actor/grad_norm", "actor/kl_loss",
                             "actor/entropy", "response_length/mean"})
      point += row.at(name).dump() + " ";
    curve.push_back(point);
  }
  return curve;
}

std::map<std::int64_t, std::vector<std::uint64_t>> run_on_disk::trained_groups() const {
  std::map<std::int64_t, std::vector<std::uint64_t>> groups;
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder_))
    if (entry.path().filename().string().starts_with("trajectories-"))
      files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  for (const auto& file : files) {
    std::istringstream rows(telemetry::read_trajectories(file));
    for (std::string line; std::getline(rows, line);) {
      const auto row = nlohmann::json::parse(line);
      groups[row.at("step")].push_back(row.at("group"));
    }
  }
  return groups;
}

std::uint64_t run_on_disk::bytes_pulled(const std::string& role) const {
  std::uint64_t bytes = 0;
  const auto now = status();
  for (const auto& lane : now.at("lanes"))
    if (lane.at("to").get<std::string>().starts_with(role + "/"))
      bytes += lane.at("bytes_pulled").get<std::uint64_t>();
  return bytes;
}

pid_t run_on_disk::process_of(const std::string& instance) const {
  pid_t found = 0;
  std::istringstream lines(log());
  for (std::string line; std::getline(lines, line);) {
    const auto at = line.find(" as process ");
    if (at != std::string::npos && line.find(' ' + instance + ' ') != std::string::npos)
      found = static_cast<pid_t>(std::stol(line.substr(at + 12)));
  }
  return found;
}

// -- running it -------------------------------------------------------------------------------------------------------

tiny_run::tiny_run(const tiny_pipeline& pipeline) {
  write_file(folder_ / "tiny.toml", text_of(pipeline));
}

strings tiny_run::check(const strings& more) const {
  auto command = command_line({"check", (folder_ / "tiny.toml").string()});
  command.insert(command.end(), more.begin(), more.end());
  return command;
}

strings tiny_run::start(const strings& more) const {
  auto command = command_line({"run", (folder_ / "tiny.toml").string(), "--output", (folder_ / "run").string()});
  command.insert(command.end(), more.begin(), more.end());
  return command;
}

strings plan_of(strings run) {
  const auto output = std::find(run.begin(), run.end(), "--output");
  run.erase(output, output + 2);
  *std::find(run.begin(), run.end(), "run") = "plan";
  return run;
}

strings tiny_run::resume(const strings& more) const {
  auto command = command_line({"resume", (folder_ / "run").string()});
  command.insert(command.end(), more.begin(), more.end());
  return command;
}

finished_command run_to_end(const strings& command, double deadline_s) {
  running_command running(command);
  const auto end = running.wait(deadline_s);
  return {end.signal > 0 ? -end.signal : end.status, running.out(), running.err()};
}

bool reaches(running_command& running, const run_on_disk& files, std::size_t steps, double deadline_s) {
  return wait_until([&] { return files.steps() >= steps || running.ended(); }, deadline_s) && files.steps() >= steps;
}

void check_goes_on_without(running_command& running, const run_on_disk& files, const std::string& instance, int steps) {
  CHECK(reaches(running, files, 3, 60));
  const auto victim = files.process_of(instance);
  REQUIRE(victim > 0);
  kill(victim, SIGKILL);
  const auto end = running.wait(120);
  CAPTURE(running.err());
  CHECK(end.status == 0);
  check_each_group_once(files, steps);
}

void check_each_group_once(const run_on_disk& files, int steps) {
  const auto trained = files.trained_groups();
  CHECK(trained.size() == static_cast<std::size_t>(steps));
  std::uint64_t next = 0;
  for (const auto& [step, groups] : trained) {
    CAPTURE(step);
    auto sorted = groups;
    std::sort(sorted.begin(), sorted.end());
    std::vector<std::uint64_t> wanted;
    for (int i = 0; i < groups_per_step; ++i)
      wanted.push_back(next++);
    CHECK(sorted == wanted);
  }
}

void write_wide_model(const std::filesystem::path& folder) {
  constexpr int hidden = 256, ffn = 512, heads = 4, kv_heads = 2, layers = 3;
  std::filesystem::create_directories(folder);
  for (const auto* name : {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"})
    std::filesystem::copy_file(tiny_model() / name, folder / name);
  auto config = nlohmann::json::parse(read_file(tiny_model() / "config.json"));
  config.update({{"hidden_size", hidden},
                 {"intermediate_size", ffn},
                 {"num_attention_heads", heads},
                 {"num_key_value_heads", kv_heads},
                 {"num_hidden_layers", layers},
                 {"head_dim", hidden / heads}});
  write_file(folder / "config.json", config.dump());

  const int kv = kv_heads * hidden / heads;
  const int vocabulary = config.at("vocab_size");
  std::map<std::string, std::vector<int>> shapes{{"model.embed_tokens.weight", {vocabulary, hidden}},
                                                 {"model.norm.weight", {hidden}}};
  for (int i = 0; i < layers; ++i) {
    const auto layer = "model.layers." + std::to_string(i) + ".";
    shapes.insert({{layer + "input_layernorm.weight", {hidden}},
                   {layer + "post_attention_layernorm.weight", {hidden}},
                   {layer + "self_attn.q_proj.weight", {hidden, hidden}},
                   {layer + "self_attn.k_proj.weight", {kv, hidden}},
                   {layer + "self_attn.v_proj.weight", {kv, hidden}},
                   {layer + "self_attn.o_proj.weight", {hidden, hidden}},
                   {layer + "mlp.gate_proj.weight", {ffn, hidden}},
                   {layer + "mlp.up_proj.weight", {ffn, hidden}},
                   {layer + "mlp.down_proj.weight", {hidden, ffn}}});
  }
  nlohmann::json header;
  std::string data;
  std::mt19937 random(1);
  for (const auto& [name, shape] : shapes) {
    const auto start = data.size();
    const int count = shape[0] * (shape.size() > 1 ? shape[1] : 1);
    for (int i = 0; i < count; ++i) {
      const float noise = static_cast<float>(random()) / static_cast<float>(random.max()) - 0.5F;
      const float value = shape.size() == 1 ? 1 : 0.1F * noise;
      data.append(reinterpret_cast<const char*>(&value), sizeof value);
    }
    header[name] = {{"dtype", "F32"}, {"shape", shape}, {"data_offsets", {start, data.size()}}};
  }
  const auto text = header.dump();
  const std::uint64_t length = text.size();
  write_file(folder / "model.safetensors", std::string(reinterpret_cast<const char*>(&length), 8) + text + data);
}

} // namespace millrace::tests
