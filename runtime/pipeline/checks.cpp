#include "runtime/pipeline/checks.hpp"

#include "runtime/pipeline/figures.hpp"
#include "runtime/pipeline/loss_checks.hpp"
#include "runtime/pipeline/stages.hpp"
#include "runtime/pipeline/wording.hpp"
#include "runtime/words/decimal.hpp"
#include "runtime/words/listen_address.hpp"

#include <algorithm>
#include <functional>
#include <optional>
#include <set>

namespace millrace::pipeline {
namespace {

namespace fs = std::filesystem;

void check_run(const pipeline& p, reading& into) {
  const bool plain = std::all_of(p.run.name.begin(), p.run.name.end(), [](unsigned char c) {
    return c < 0x80 && (std::isalnum(c) || c == '_' || c == '-' || c == '.');
  });
  if (!p.run.name.empty() && (!plain || p.run.name[0] == '.' || p.run.name.size() > 128))
    into.wrong(into.place("run.name"),
               "run.name: found " + in_quotes(p.run.name)
                   + ", want letters, digits, '_', '-' and '.', at most 128, not beginning with '.'");
  if (p.run.peer_timeout_ms < 2 * p.run.heartbeat_ms)
    into.wrong(into.place(into.written("run.peer_timeout_ms") ? "run.peer_timeout_ms" : "run.heartbeat_ms"),
               "run.peer_timeout_ms: found " + std::to_string(p.run.peer_timeout_ms)
                   + " with heartbeat_ms = " + std::to_string(p.run.heartbeat_ms) + ", want at least two heartbeats");
}

/// @param key of the address; "" there: nothing listens  @param token_key of the file `token`
void check_listens(const std::string& key, const std::string& address, const std::string& token_key,
                   const std::filesystem::path& token, reading& into) {
  if (address.empty())
    return;
  const auto at = parse_listen_address(address);
  const auto found = key + ": found " + in_quotes(address);
  if (!at)
    into.wrong(into.place(key), found + ", want an IP address and a port: \"127.0.0.1:7070\", \"[::1]:7070\"");
  else if (!at->is_loopback() && token.empty())
    into.wrong(into.place(key), found + " without " + token_key + ", want a token where others can connect");
}

/// Clients of a rollout leave a slot to the run, and each of its processes has a port.
void check_clients(const pipeline& p, const role& r, const rollout_table& table, reading& into) {
  const auto serve = "roles." + r.name + ".serve", slots = serve + "_slots";
  const auto most = std::to_string(table.serve_slots), all = std::to_string(table.slots);
  if (table.serve_slots >= table.slots)
    into.wrong(into.place(slots),
               slots + ": found " + most + " with slots = " + all + ", want fewer: clients must leave the run a slot");
  if (const auto at = parse_listen_address(table.serve); at && at->port + p.processes_of(r.name) > 65'536)
    into.wrong(into.place(serve), serve + ": found " + in_quotes(table.serve) + ", want a port for each process");
}

void check_listens(const pipeline& p, reading& into) {
  check_listens("run.listen", p.run.listen, "run.listen_token_file", p.run.listen_token_file, into);
  for (const role* r : p.of<rollout_table>()) {
    const auto& table = std::get<rollout_table>(r->options);
    const auto path = "roles." + r->name;
    check_listens(path + ".serve", table.serve, path + ".token_file", table.token_file, into);
    const rollout_table none;
    if (!table.serve.empty()) {
      check_clients(p, *r, table, into);
      continue;
    }
    for (const auto& [key, set] : {std::pair(".token_file", table.token_file != none.token_file),
                                   {".serve_slots", table.serve_slots != none.serve_slots}})
      if (set)
        into.wrong(into.place(path + key), path + key + ": found it without " + path + ".serve, want both or none");
  }
}

void check_best(const pipeline& p, reading& into) {
  const auto refuse = [&](const std::string& want) {
    into.wrong(into.place("run.keep_best"), "run.keep_best: found " + in_quotes(p.run.keep_best) + want);
  };
  if (p.run.keep_best.empty())
    return;
  if (p.run.checkpoint_every == 0)
    return refuse(" with checkpoint_every = 0, want checkpoints to choose from");
  const std::string prefix = "evaluation/";
  if (p.run.keep_best.compare(0, prefix.size(), prefix) != 0) {
    if (const auto why = no_figure(p, p.run.keep_best); !why.empty())
      into.wrong(into.place("run.keep_best"), "run.keep_best: " + why);
    return;
  }
  const std::string name =
      p.run.keep_best.substr(prefix.size(), p.run.keep_best.find('/', prefix.size()) - prefix.size());
  const auto r = std::find_if(p.roles.begin(), p.roles.end(), [&](const role& other) { return other.name == name; });
  const auto* evaluation = r == p.roles.end() ? nullptr : std::get_if<evaluation_table>(&r->options);
  if (!evaluation)
    refuse(", want evaluation/ROLE/FIGURE with a role of kind \"evaluation\"");
  else if (const auto why = no_figure(p, p.run.keep_best); !why.empty())
    into.wrong(into.place("run.keep_best"), "run.keep_best: " + why);
  else if (evaluation->every == 0 || evaluation->every % p.run.checkpoint_every != 0)
    refuse(" with roles." + name + ".every = " + std::to_string(evaluation->every)
           + " and checkpoint_every = " + std::to_string(p.run.checkpoint_every)
           + ", want evaluations of versions that are checkpoints: `every` a multiple of it");
}

void check_stops(const pipeline& p, reading& into) {
  for (std::size_t i = 0; i < p.run.stop_when.size(); ++i) {
    const std::string key = "run.stop_when." + std::to_string(i) + ".metric";
    const auto& metric = p.run.stop_when[i].metric;
    if (const auto why = metric.empty() ? "" : no_figure(p, metric); !why.empty())
      into.wrong(into.place(key), key + ": " + why);
  }
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

void check_reference(const stage_reference& reference, const std::string& key, reading& into) {
  const auto& earlier = *into.earlier;
  if (std::find(earlier.begin(), earlier.end(), reference.stage) == earlier.end())
    into.wrong(into.place(key),
               key + ": no earlier stage " + in_quotes(reference.stage) + suggestion(reference.stage, earlier));
  if (const fs::path part = reference.part; part.empty() || part.has_parent_path() || part == ".." || part == ".")
    into.wrong(into.place(key), key + ": found part " + in_quotes(reference.part)
                                    + " of a stage's checkpoint, want the name of a folder in it");
}

void check_paths(const pipeline& p, reading& into) {
  for (const auto& [name, model] : p.models)
    if (const auto reference = into.earlier ? stage_reference_of(model.path) : std::nullopt)
      check_reference(*reference, "models." + name + ".path", into);
    else if (const std::string why = model.path.empty() ? "" : no_model(model.path); !why.empty())
      into.wrong(into.place("models." + name + ".path"), "models." + name + ".path: found " + why + " at "
                                                             + in_quotes(model.path.string())
                                                             + ", want a Hugging Face folder or a .gguf file");
  const auto file = [&](const fs::path& path, const std::string& key, const std::string& want) {
    std::error_code failed;
    if (!path.empty() && !fs::is_regular_file(path, failed))
      into.wrong(into.place(key), key + ": found " + (fs::exists(path, failed) ? "no file" : "nothing") + " at "
                                      + in_quotes(path.string()) + ", want " + want);
  };
  const auto rows = [&](const fs::path& path, const std::string& key) {
    std::error_code failed; // what a folder or a pattern holds is seen when it is opened
    if (!fs::is_directory(path, failed) && path.string().find_first_of("*?[") == std::string::npos)
      file(path, key, "a JSONL or Parquet file, or a folder of them");
  };
  for (const role& r : p.roles)
    if (const auto* source = std::get_if<source_table>(&r.options))
      each_rows(*source, r.name, [&](const auto& from, const std::string& path) { rows(from.file, path + ".file"); });
    else if (const auto* evaluation = std::get_if<evaluation_table>(&r.options))
      rows(evaluation->file, "roles." + r.name + ".file");
  for (const role* policy : p.of<policy_table>()) {
    const auto& table = std::get<policy_table>(policy->options);
    if (table.pretraining)
      file(table.pretraining->file, "roles." + policy->name + ".pretraining.file", "a JSONL file");
    std::error_code failed;
    if (table.lora && !table.lora->start.empty() && !fs::exists(table.lora->start / "adapter_config.json", failed))
      into.wrong(into.place("roles." + policy->name + ".lora.start"),
                 "roles." + policy->name + ".lora.start: found no adapter_config.json in "
                     + in_quotes(table.lora->start.string()) + ", want a folder as PEFT writes it");
  }
  file(p.run.listen_token_file, "run.listen_token_file", "the file with the watchers' token");
  for (const role* r : p.of<rollout_table>())
    file(std::get<rollout_table>(r->options).token_file, "roles." + r->name + ".token_file",
         "the file with the clients' token");
}

/// @param path of the table that says where the rows come from
template <class Table>
void check_rows(const Table& source, const std::string& path, reading& into) {
  const bool file = into.written(path + ".file"), generator = into.written(path + ".generator");
  if (file && generator)
    into.wrong(into.place(path + ".generator"), path + ": found both 'file' and 'generator', want one of them");
  else if (!file && !generator)
    into.wrong(into.place(path), path + ": found neither 'file' nor 'generator', want one of them");
  if (source.generator && source.generator->endless() && source.generator->min > source.generator->max)
    into.wrong(into.place(path + ".generator.min"),
               path + ".generator.min: found " + std::to_string(source.generator->min)
                   + " with max = " + std::to_string(source.generator->max) + ", want at most max");
}

/// What becomes part of a figure's or a column's name.
bool is_plain(const std::string& name) {
  return name.size() <= 64 && std::all_of(name.begin(), name.end(), [](unsigned char c) {
           return c < 0x80 && (std::isalnum(c) || c == '_' || c == '-');
         });
}

/// Rows by how often they were solved: there must be rows to choose from, and somebody who says so.
void check_sampler(const pipeline& p, const role& r, const source_table& source, reading& into) {
  if (source.sampler != "difficulty")
    return;
  const std::string key = "roles." + r.name + ".sampler", found = key + ": found \"difficulty\" ";
  if (p.of<rule_verifier_table>().empty())
    into.wrong(into.place(key),
               found + "without a role of kind \"rule_verifier\", want its first rule to say what is solved");
  each_rows(source, r.name, [&](const auto& rows, const std::string& path) {
    if (rows.generator && rows.generator->endless())
      into.wrong(into.place(path + ".generator"), found + "with a generator that never repeats a row, want a file");
    const auto refuse = [&](const std::string& other) {
      into.wrong(into.place(other), other + ": found where it has no effect, want it left out: " + key
                                        + " = \"difficulty\" has no epochs");
    };
    if (rows.epochs != 0)
      refuse(path + ".epochs");
    if (!rows.shuffle)
      refuse(path + ".shuffle");
  });
}

void check_source(const pipeline& p, const role& r, const source_table& source, reading& into) {
  check_sampler(p, r, source, into);
  std::set<std::string> names;
  each_rows(source, r.name, [&](const auto& rows, const std::string& path) {
    check_rows(rows, path, into);
    if constexpr (std::is_same_v<decltype(rows), const source_entry&>) {
      if (!is_plain(rows.name))
        into.wrong(into.place(path + ".name"),
                   path + ".name: found " + in_quotes(rows.name) + ", want letters, digits, '_' and '-', at most 64");
      else if (!rows.name.empty() && !names.insert(rows.name).second)
        into.wrong(into.place(path + ".name"),
                   path + ".name: found a second source named " + in_quotes(rows.name) + ", want a name of its own");
    }
  });
}

void check_rules(const role& r, const std::vector<rule_entry>& rules, reading& into) {
  std::set<std::string> names;
  for (std::size_t i = 0; i < rules.size(); ++i) {
    const rule_entry& rule = rules[i];
    const std::string path = "roles." + r.name + ".rules." + std::to_string(i);
    if (!is_plain(rule.name))
      into.wrong(into.place(path + ".name"),
                 path + ".name: found " + in_quotes(rule.name) + ", want letters, digits, '_' and '-', at most 64");
    else if (!rule.name.empty() && !names.insert(rule.name).second)
      into.wrong(into.place(path),
                 path + ": found a second rule named " + in_quotes(rule.name) + ", want a name of its own");
  }
}

void check_budgets(const evaluation_table& evaluation, const std::string& key, reading& into) {
  const auto& budgets = evaluation.budgets;
  const auto refuse = [&](const std::string& why) { into.wrong(into.place(key), key + ": " + why); };
  if (!budgets.empty() && !evaluation.environment.empty())
    refuse("found it with an environment, which answers whole turns, want one of the two");
  for (std::size_t i = 0; i + 1 < budgets.size(); ++i)
    if (budgets[i + 1] <= budgets[i])
      return refuse("found " + std::to_string(budgets[i + 1]) + " behind " + std::to_string(budgets[i])
                    + ", want them ascending");
  if (!budgets.empty() && budgets.back() > evaluation.max_new_tokens)
    refuse("found " + std::to_string(budgets.back())
           + " with max_new_tokens = " + std::to_string(evaluation.max_new_tokens) + ", want at most that");
}

void check_evaluation(const pipeline& p, const role& r, const evaluation_table& evaluation, reading& into) {
  const std::string path = "roles." + r.name;
  check_rows(evaluation, path, into);
  check_rules(r, evaluation.rules, into);
  if (evaluation.generator && evaluation.generator->endless() && evaluation.rows == 0)
    into.wrong(into.place(path + ".rows"), path + ".rows: found 0 with a generator, which never ends, want at least 1");
  for (std::size_t i = 0; i < evaluation.pass_at.size(); ++i)
    if (evaluation.pass_at[i] > evaluation.answers_per_prompt)
      into.wrong(into.place(path + ".pass_at." + std::to_string(i)),
                 path + ".pass_at: found " + std::to_string(evaluation.pass_at[i]) + " with answers_per_prompt = "
                     + std::to_string(evaluation.answers_per_prompt) + ", want at most that");
  check_budgets(evaluation, path + ".budgets", into);
  for (const role* policy : p.of<policy_table>()) {
    const auto& table = std::get<policy_table>(policy->options);
    if (!table.model.empty() && !evaluation.model.empty() && table.model != evaluation.model)
      into.wrong(into.place(path + ".model"), path + ".model: found " + in_quotes(evaluation.model) + ", want "
                                                  + in_quotes(table.model) + ", the model that is trained");
    if (std::find(table.publishes_to.begin(), table.publishes_to.end(), r.name) == table.publishes_to.end())
      into.wrong(into.place("roles." + policy->name + ".publishes_to"),
                 "roles." + policy->name + ".publishes_to: evaluation " + in_quotes(r.name)
                     + " is not in it, want every evaluation, so that it gets the weights");
  }
}

void check_following(const pipeline& p, const role& r, const reference_table& reference, reading& into) {
  const std::string path = "roles." + r.name;
  if (reference.refresh_every > 0 && reference.ema > 0)
    into.wrong(into.place(path + ".ema"), path + ".ema: found it with refresh_every, want one of them");
  if (reference.follows() && p.processes_of(r.name) > 1)
    into.wrong(into.place("placement." + r.name),
               "placement." + r.name + ": found " + std::to_string(p.processes_of(r.name))
                   + " processes, want 1: a reference that follows the policy is one");
  for (const role* policy : p.of<policy_table>())
    if (const auto& model = std::get<policy_table>(policy->options).model;
        reference.follows() && model != reference.model && !model.empty())
      into.wrong(into.place(path + ".model"), path + ".model: found " + in_quotes(reference.model) + ", want "
                                                  + in_quotes(model) + ", the model that it follows");
}

void check_rewards(const role& r, const policy_table& policy, reading& into) {
  std::set<std::string> seen;
  for (std::size_t i = 0; i < policy.rewards.size(); ++i)
    if (const std::string& name = policy.rewards[i].name; !name.empty() && !seen.insert(name).second)
      into.wrong(into.place("roles." + r.name + ".rewards." + std::to_string(i) + ".name"),
                 "roles." + r.name + ".rewards: found " + in_quotes(name) + " twice, want it once");
}

/// @param mistake of the vocabulary: what is wrong with an expression, or ""
void check_pattern(const std::function<std::string(const std::string&)>& mistake, const std::string& expression,
                   const std::string& key, reading& into) {
  if (const std::string wrong = mistake ? mistake(expression) : ""; !wrong.empty())
    into.wrong(into.place(key), key + ": " + wrong);
}

void check_optimizer(const pipeline& p, const optimizer_table& o, const std::string& path, reading& into) {
  for (std::size_t i = 0; i < o.groups.size(); ++i)
    check_pattern(into.words.pattern_mistake, o.groups[i].match, path + ".groups." + std::to_string(i) + ".match",
                  into);
  if (o.decay != "constant" && p.run.steps > 0 && o.warmup_steps >= p.run.steps)
    into.wrong(into.place(path + ".warmup_steps"), path + ".warmup_steps: found " + std::to_string(o.warmup_steps)
                                                       + " with run.steps = " + std::to_string(p.run.steps)
                                                       + ", want fewer steps, so that there are some to decay in");
}

void check_critic(const pipeline& p, const role& r, const critic_table& critic, reading& into) {
  const std::string path = "roles." + r.name;
  check_optimizer(p, critic.optimizer, path + ".optimizer", into);
  if (p.run.steps > 0 && critic.alone_steps >= p.run.steps)
    into.wrong(into.place(path + ".alone_steps"), path + ".alone_steps: found " + std::to_string(critic.alone_steps)
                                                      + " with run.steps = " + std::to_string(p.run.steps)
                                                      + ", want fewer steps, so that the policy is trained too");
}

void check_policy(const pipeline& p, const role& r, const policy_table& policy, reading& into) {
  const std::string path = "roles." + r.name;
  check_rewards(r, policy, into);
  std::set<std::string> seen;
  for (std::size_t i = 0; i < policy.publishes_to.size(); ++i) {
    const std::string& name = policy.publishes_to[i];
    const position where = into.place(path + ".publishes_to." + std::to_string(i));
    const std::string key = path + ".publishes_to: ";
    const auto to = std::find_if(p.roles.begin(), p.roles.end(), [&](const role& other) { return other.name == name; });
    if (to == p.roles.end())
      into.wrong(where, key + "no role " + in_quotes(name) + suggestion(name, names_of(p.roles)));
    else if (!std::holds_alternative<rollout_table>(to->options)
             && !std::holds_alternative<evaluation_table>(to->options))
      into.wrong(where, key + "found " + in_quotes(name) + " of kind \"" + std::string(to->kind())
                            + "\", want a role of kind \"rollout\" or \"evaluation\"");
    else if (!seen.insert(name).second)
      into.wrong(where, key + "found " + in_quotes(name) + " twice, want it once");
    else if (!std::holds_alternative<rollout_table>(to->options))
      continue;
    else if (const auto& rollout = std::get<rollout_table>(to->options);
             rollout.model != policy.model && !rollout.model.empty() && !policy.model.empty())
      into.wrong(where, key + "found " + in_quotes(name) + " with model " + in_quotes(rollout.model) + ", want "
                            + in_quotes(policy.model) + ", the model that is trained");
  }
  for (const role* up : upstream_of(p, r.name))
    if (std::holds_alternative<rollout_table>(up->options) && !seen.contains(up->name))
      into.wrong(into.place(path + ".publishes_to"), path + ".publishes_to: rollout " + in_quotes(up->name)
                                                         + " is not in it, want every rollout upstream of the policy");
  check_loss(policy, path, into);
  check_group_size(p, r, policy, into);
  check_optimizer(p, policy.optimizer, path + ".optimizer", into);
  if (policy.lora)
    check_pattern(into.words.layers_mistake, policy.lora->targets, path + ".lora.targets", into);
}

void check_roles(const pipeline& p, reading& into) {
  std::vector<std::string> models;
  for (const auto& [name, model] : p.models)
    models.push_back(name);
  const auto check_model = [&](const role& r, const std::string& model) {
    if (!model.empty() && !p.models.contains(model))
      into.wrong(into.place("roles." + r.name + ".model"),
                 "roles." + r.name + ".model: no table [models." + printable(model) + ']' + suggestion(model, models));
  };
  for (const role& r : p.roles)
    std::visit(
        [&](const auto& table) {
          using table_type = std::decay_t<decltype(table)>;
          if constexpr (requires { table.model; })
            check_model(r, table.model);
          if constexpr (std::is_same_v<table_type, source_table>)
            check_source(p, r, table, into);
          if constexpr (std::is_same_v<table_type, evaluation_table>)
            check_evaluation(p, r, table, into);
          if constexpr (std::is_same_v<table_type, rule_verifier_table>)
            check_rules(r, table.rules, into);
          if constexpr (std::is_same_v<table_type, reference_table>)
            check_following(p, r, table, into);
          if constexpr (std::is_same_v<table_type, critic_table>)
            check_critic(p, r, table, into);
          if constexpr (std::is_same_v<table_type, policy_table>)
            check_policy(p, r, table, into);
        },
        r.options);
  const auto policies = p.of<policy_table>();
  if (policies.empty())
    into.wrong(into.place("roles"), "roles: found no role of kind \"policy\", want one: it is what is trained");
  for (std::size_t i = 1; i < policies.size(); ++i)
    into.wrong(into.place("roles." + policies[i]->name + ".kind"),
               "roles." + policies[i]->name + ": found a second role of kind \"policy\", want one");
}

/// A group goes on where there is room: every rollout samples as every other does.
void check_handing_over(const pipeline& p, reading& into) {
  if (p.of<rollout_table>().size() < 2)
    return;
  const auto refuse = [&](bool hands_over, const std::string& key, const std::string& found) {
    if (hands_over)
      into.wrong(
          into.place("schedule." + key),
          "schedule." + key + ": found " + found
              + " with several roles of kind \"rollout\", want one: what one of them began another cannot go on with");
  };
  refuse(p.schedule.interrupt.mode == schedule::interrupt_mode::abort_resume, "interrupt.mode",
         in_quotes(word(p.schedule.interrupt.mode)));
  refuse(p.schedule.tail.surplus == schedule::tail_surplus::recycle_partial, "tail.surplus",
         in_quotes(word(p.schedule.tail.surplus)));
  refuse(p.schedule.tail.repack_below > 0, "tail.repack_below", decimal(p.schedule.tail.repack_below));
}

/// Keys about sampling that the roles that are there would not follow.
void check_sampled(const pipeline& p, reading& into) {
  const auto rollouts = p.of<rollout_table>();
  const auto refuse = [&](const std::string& key, double value, double want, const std::string& why) {
    if (value != want)
      into.wrong(into.place("schedule." + key),
                 "schedule." + key + ": found " + decimal(value) + ", want " + decimal(want) + why);
  };
  if (rollouts.empty()) {
    refuse("tail.oversample_attempts", p.schedule.tail.oversample_attempts, 1,
           " without a role of kind \"rollout\": answers are those of the rows");
    refuse("publish.deadline_s", p.schedule.publish.deadline_s, 0,
           " without a role of kind \"rollout\": nobody takes weights");
  }
  for (const role* r : rollouts)
    if (std::get<rollout_table>(r->options).greedy_baseline)
      refuse("tail.oversample_attempts", p.schedule.tail.oversample_attempts, 1,
             " with roles." + r->name + ".greedy_baseline: the group waits for that answer however long it is");
}

} // namespace

void check(pipeline& p, reading& into, bool whole) {
  check_run(p, into);
  check_listens(p, into);
  check_paths(p, into);
  if (whole && !p.roles.empty()) {
    check_best(p, into);
    check_stops(p, into);
    check_graph(p, into);
    check_roles(p, into);
    check_handing_over(p, into);
    check_sampled(p, into);
    check_precision(p, into);
    check_placement(p, into);
  }
}

} // namespace millrace::pipeline
