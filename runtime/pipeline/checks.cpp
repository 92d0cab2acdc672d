#include "runtime/pipeline/checks.hpp"

#include "runtime/pipeline/wording.hpp"

#include <algorithm>
#include <charconv>
#include <set>

namespace millrace::pipeline {
namespace {

namespace fs = std::filesystem;

void check_run(const pipeline& p, reading& into) {
  const bool plain = std::all_of(p.run.name.begin(), p.run.name.end(), [](unsigned char c) {
    return c < 0x80 && (std::isalnum(c) || c == '_' || c == '-' || c == '.');
  });
  if (!p.run.name.empty() && (!plain || p.run.name[0] == '.' || p.run.name.size() > 128))
    into.wrong(into.place("run.name"), "run.name: found " + in_quotes(p.run.name) + ", want letters, digits, '_', '-' and '.', at most 128, not beginning with '.'");
  if (p.run.peer_timeout_ms < 2 * p.run.heartbeat_ms)
    into.wrong(into.place(into.written("run.peer_timeout_ms") ? "run.peer_timeout_ms" : "run.heartbeat_ms"),
               "run.peer_timeout_ms: found " + std::to_string(p.run.peer_timeout_ms) + " with heartbeat_ms = " + std::to_string(p.run.heartbeat_ms) +
                   ", want at least two heartbeats");
}

/// Why there is no model at `path`, or "".
std::string no_model(const fs::path& path) {
  std::error_code failed;
  if (!fs::exists(path, failed))
    return "nothing there";
  if (fs::is_directory(path, failed))
    return fs::exists(path / "config.json", failed) ? "" : "a folder without config.json";
  return path.extension() == ".gguf" ? "" : "a file that is not .gguf";
}

void check_paths(const pipeline& p, reading& into) {
  for (const auto& [name, model] : p.models)
    if (const std::string why = model.path.empty() ? "" : no_model(model.path); !why.empty())
      into.wrong(into.place("models." + name + ".path"), "models." + name + ".path: found " + why + " at " + in_quotes(model.path.string()) +
                                                             ", want a Hugging Face folder or a .gguf file");
  const auto file = [&](const fs::path& path, const std::string& key, const std::string& want) {
    std::error_code failed;
    if (!path.empty() && !fs::is_regular_file(path, failed))
      into.wrong(into.place(key), key + ": found " + (fs::exists(path, failed) ? "no file" : "nothing") + " at " + in_quotes(path.string()) + ", want " + want);
  };
  for (const role& r : p.roles)
    if (const auto* source = std::get_if<source_table>(&r.options))
      file(source->file, "roles." + r.name + ".file", "a JSONL file");
  file(p.placement.secret_file, "placement.secret_file", "the file with the nodes' secret");
}

void check_source(const role& r, const source_table& source, reading& into) {
  const std::string path = "roles." + r.name;
  const bool file = into.written(path + ".file"), generator = into.written(path + ".generator");
  if (file && generator)
    into.wrong(into.place(path + ".generator"), path + ": found both 'file' and 'generator', want one of them");
  else if (!file && !generator)
    into.wrong(into.place(path), path + ": found neither 'file' nor 'generator', want one of them");
  if (source.generator && source.generator->min > source.generator->max)
    into.wrong(into.place(path + ".generator.min"), path + ".generator.min: found " + std::to_string(source.generator->min) + " with max = " +
                                                        std::to_string(source.generator->max) + ", want at most max");
}

void check_rules(const role& r, const rule_verifier_table& verifier, reading& into) {
  std::set<std::string> names;
  for (std::size_t i = 0; i < verifier.rules.size(); ++i) {
    const rule_entry& rule = verifier.rules[i];
    const std::string path = "roles." + r.name + ".rules." + std::to_string(i);
    const bool plain = std::all_of(rule.name.begin(), rule.name.end(), [](unsigned char c) { return c < 0x80 && (std::isalnum(c) || c == '_' || c == '-'); });
    if (!plain || rule.name.size() > 64)
      into.wrong(into.place(path + ".name"), path + ".name: found " + in_quotes(rule.name) + ", want letters, digits, '_' and '-', at most 64");
    else if (!rule.name.empty() && !names.insert(rule.name).second)
      into.wrong(into.place(path), path + ": found a second rule named " + in_quotes(rule.name) + ", want a name of its own");
  }
}

void check_policy(const pipeline& p, const role& r, const policy_table& policy, reading& into) {
  const std::string path = "roles." + r.name;
  std::set<std::string> seen;
  for (std::size_t i = 0; i < policy.publishes_to.size(); ++i) {
    const std::string& name = policy.publishes_to[i];
    const position where = into.place(path + ".publishes_to." + std::to_string(i));
    const std::string key = path + ".publishes_to: ";
    const auto to = std::find_if(p.roles.begin(), p.roles.end(), [&](const role& other) { return other.name == name; });
    if (to == p.roles.end())
      into.wrong(where, key + "no role " + in_quotes(name) + suggestion(name, names_of(p.roles)));
    else if (!std::holds_alternative<rollout_table>(to->options))
      into.wrong(where, key + "found " + in_quotes(name) + " of kind \"" + std::string(to->kind()) + "\", want a role of kind \"rollout\"");
    else if (!seen.insert(name).second)
      into.wrong(where, key + "found " + in_quotes(name) + " twice, want it once");
    else if (const auto& rollout = std::get<rollout_table>(to->options); rollout.model != policy.model && !rollout.model.empty() && !policy.model.empty())
      into.wrong(where, key + "found " + in_quotes(name) + " with model " + in_quotes(rollout.model) + ", want " + in_quotes(policy.model) + ", the model that is trained");
  }
  for (const role* up : upstream_of(p, r.name))
    if (std::holds_alternative<rollout_table>(up->options) && !seen.contains(up->name))
      into.wrong(into.place(path + ".publishes_to"), path + ".publishes_to: rollout " + in_quotes(up->name) + " is not in it, want every rollout upstream of the policy");
  const optimizer_table& o = policy.optimizer;
  if (o.decay != "constant" && p.run.steps > 0 && o.warmup_steps >= p.run.steps)
    into.wrong(into.place(path + ".optimizer.warmup_steps"), path + ".optimizer.warmup_steps: found " + std::to_string(o.warmup_steps) + " with run.steps = " +
                                                                 std::to_string(p.run.steps) + ", want fewer steps, so that there are some to decay in");
}

void check_roles(const pipeline& p, reading& into) {
  std::vector<std::string> models;
  for (const auto& [name, model] : p.models)
    models.push_back(name);
  const auto check_model = [&](const role& r, const std::string& model) {
    if (!model.empty() && !p.models.contains(model))
      into.wrong(into.place("roles." + r.name + ".model"), "roles." + r.name + ".model: no table [models." + printable(model) + ']' + suggestion(model, models));
  };
  for (const role& r : p.roles)
    std::visit(
        [&](const auto& table) {
          using table_type = std::decay_t<decltype(table)>;
          if constexpr (requires { table.model; })
            check_model(r, table.model);
          if constexpr (std::is_same_v<table_type, source_table>)
            check_source(r, table, into);
          if constexpr (std::is_same_v<table_type, rule_verifier_table>)
            check_rules(r, table, into);
          if constexpr (std::is_same_v<table_type, policy_table>)
            check_policy(p, r, table, into);
        },
        r.options);
  const auto policies = p.of<policy_table>();
  if (policies.empty())
    into.wrong(into.place("roles"), "roles: found no role of kind \"policy\", want one: it is what is trained");
  for (std::size_t i = 1; i < policies.size(); ++i)
    into.wrong(into.place("roles." + policies[i]->name + ".kind"), "roles." + policies[i]->name + ": found a second role of kind \"policy\", want one");
}

bool is_address(std::string_view host) {
  const std::size_t colon = host.rfind(':');
  if (colon == std::string_view::npos || colon == 0 || host.size() > 255)
    return false;
  int port = 0;
  const auto [end, error] = std::from_chars(host.data() + colon + 1, host.data() + host.size(), port);
  const bool bracketed = host.front() == '[' && host[colon - 1] == ']';
  const bool plain = std::all_of(host.begin(), host.begin() + static_cast<std::ptrdiff_t>(colon), [&](unsigned char c) {
    return c < 0x80 && (std::isalnum(c) || c == '.' || c == '-' || (bracketed && (c == ':' || c == '[' || c == ']')));
  });
  return plain && error == std::errc() && end == host.data() + host.size() && port >= 1 && port <= 65535;
}

void check_placement(const pipeline& p, reading& into) {
  bool remote = false;
  for (const auto& [name, placed] : p.placement.roles) {
    const std::string path = "placement." + name;
    const auto r = std::find_if(p.roles.begin(), p.roles.end(), [&, &wanted = name](const role& other) { return other.name == wanted; });
    if (r == p.roles.end()) {
      std::vector<std::string> known = names_of(p.roles);
      known.insert(known.end(), {"transport", "secret_file"});
      into.wrong(into.place(path + "/key"), "placement: no role " + in_quotes(name) + suggestion(name, known));
      continue;
    }
    const std::int64_t count = p.processes_of(name);
    const std::string key = path + (placed.processes > 0 ? ".processes" : ".hosts");
    if (count > 1 && !r->replicated())
      into.wrong(into.place(key), key + ": found " + std::to_string(count) + " processes, want 1: a role of kind \"" + std::string(r->kind()) + "\" is one");
    if (placed.processes > 0 && placed.processes < static_cast<std::int64_t>(placed.hosts.size()))
      into.wrong(into.place(key), key + ": found " + std::to_string(count) + " with " + std::to_string(placed.hosts.size()) + " hosts, want at least one for each");
    for (std::size_t i = 0; i < placed.hosts.size(); ++i)
      if (!is_address(placed.hosts[i]))
        into.wrong(into.place(path + ".hosts." + std::to_string(i)), path + ".hosts: found " + in_quotes(placed.hosts[i]) + ", want ADDRESS:PORT of a `millrace node`");
    if (placed.hosts.empty())
      continue;
    remote = true;
    if (p.placement.secret_file.empty())
      into.wrong(into.place(path + ".hosts"), path + ".hosts: found hosts without placement.secret_file, want the file with the nodes' secret");
  }
  if (remote && p.placement.transport == "shm")
    into.wrong(into.place("placement.transport"), "placement.transport: found \"shm\" with roles on other hosts, want \"auto\" or \"tcp\"");
}

} // namespace

void check(pipeline& p, reading& into, bool whole) {
  check_run(p, into);
  check_paths(p, into);
  if (whole && !p.roles.empty()) {
    check_graph(p, into);
    check_roles(p, into);
    check_placement(p, into);
  }
}

} // namespace millrace::pipeline
