#include "actors/process/run_inputs.hpp"

#include "runtime/cluster/credentials.hpp"
#include "runtime/data/source.hpp"
#include "runtime/data/text_rows.hpp"
#include "runtime/model/adapter.hpp"
#include "runtime/model/checkpoint.hpp"
#include "runtime/pipeline/located.hpp"
#include "runtime/pipeline/stages.hpp"
#include "runtime/roles/environment_role.hpp"
#include "runtime/roles/role_model.hpp"
#include "runtime/roles/rollout_requests.hpp"
#include "runtime/roles/row_options.hpp"
#include "runtime/roles/rule_verifier_role.hpp"
#include "runtime/roles/source_role.hpp"
#include "runtime/words/input_error.hpp"

#include <algorithm>
#include <optional>
#include <type_traits>
#include <utility>

namespace millrace::actors {
namespace {

namespace fs = std::filesystem;

bool is_written_before(const pipeline::pipeline& p, const std::string& model) {
  return pipeline::stage_reference_of(p.models.at(model).path).has_value();
}

enum class head { language, any };

/// A model that reads the tokens that another one makes.
void check_reader(const pipeline::pipeline& p, const std::string& name, head wanted) {
  if (is_written_before(p, name))
    return;
  model::check_shapes(model::load_checkpoint(p.models.at(name).path,
                                             {.weights = false, .shapes = true, .score_head = wanted == head::any}));
}

/// A model that turns text into tokens. @returns it without its weights; nothing of one that an earlier stage writes
std::optional<model::checkpoint> checked_text_model(const pipeline::pipeline& p, const std::string& name) {
  if (is_written_before(p, name))
    return std::nullopt;
  auto words = roles::load_text_model(p, name);
  check_reader(p, name, head::language);
  return words;
}

/// Rows up to the first that can be used: how many cannot, and the first of them.
struct rows_before {
  std::uint64_t skipped = 0;
  std::string first;
};

rows_before first_row_of(const pipeline::pipeline& p, const pipeline::role& source) {
  const auto row = roles::source_role(p, source, std::nullopt).take(0).row;
  return {row.skipped_rows, row.skipped_first};
}

rows_before first_held_out_row_of(const pipeline::pipeline& p, const pipeline::role& evaluation) {
  rows_before found;
  const auto& table = std::get<pipeline::evaluation_table>(evaluation.options);
  auto options = roles::row_options(table);
  options.shuffle = false;
  options.epochs = 1;
  const auto skip = [&](const std::string& line) {
    if (found.skipped++ == 0)
      found.first = line;
  };
  pipeline::located(p, pipeline::rows_key(table, "roles." + evaluation.name), [&] {
    return roles::rows_of(table, std::move(options), skip);
  })->next();
  return found;
}

void check_role(const pipeline::pipeline&, const pipeline::source_table&) {
  // `check_inputs` takes its first prompt
}

void check_role(const pipeline::pipeline& p, const pipeline::evaluation_table& table) {
  checked_text_model(p, table.model);
}

void check_role(const pipeline::pipeline&, const pipeline::rule_verifier_table&) {
  // `check_inputs` starts its rules
}

void check_role(const pipeline::pipeline&, const pipeline::environment_table&) {
  // `check_inputs` starts it
}

void check_role(const pipeline::pipeline& p, const pipeline::rollout_table& table) {
  if (auto words = checked_text_model(p, table.model))
    roles::rollout_requests requests(p, table, *std::move(words));
}

void check_role(const pipeline::pipeline& p, const pipeline::demonstrations_table& table) {
  checked_text_model(p, table.model);
}

void check_role(const pipeline::pipeline& p, const pipeline::policy_table& table) {
  check_reader(p, table.model, head::language);
  if (table.lora && !table.lora->start.empty())
    model::load_adapter(table.lora->start);
  if (table.pretraining)
    data::text_rows rows(table.pretraining->file);
}

void check_role(const pipeline::pipeline& p, const pipeline::reward_model_table& table) {
  check_reader(p, table.model, head::any);
}

void check_role(const pipeline::pipeline& p, const pipeline::critic_table& table) {
  check_reader(p, table.model, head::any);
}

void check_role(const pipeline::pipeline& p, const pipeline::reference_table& table) {
  check_reader(p, table.model, head::language);
}

} // namespace

std::vector<std::string> check_inputs(const pipeline::pipeline& p) {
  for (const auto& role : p.roles)
    std::visit(
        [&](const auto& table) {
          check_role(p, table); // of an evaluation its first row follows below
          // The rules were made when the file was read; those that run people's own code start it now.
          if constexpr (requires { table.rules; })
            roles::start(*roles::rules_of(table.rules), p, role.name);
          if constexpr (std::is_same_v<std::decay_t<decltype(table)>, pipeline::environment_table>)
            roles::started(table, p, role.name);
        },
        role.options);
  std::vector<std::string> warnings;
  const auto warn = [&](const rows_before& rows) {
    if (rows.skipped > 0)
      warnings.push_back(rows.first + ": the row is skipped"
                         + (rows.skipped > 1 ? ", and so are the next " + std::to_string(rows.skipped - 1) : ""));
  };
  for (const auto* source : p.of<pipeline::source_table>())
    warn(first_row_of(p, *source));
  for (const auto* role : p.of<pipeline::evaluation_table>())
    warn(first_held_out_row_of(p, *role));
  if (!p.placement.secret_file.empty())
    pipeline::located(p, "placement.secret_file", [&] { cluster::root_of_file(p.placement.secret_file); });
  return warnings;
}

void check_model_of(const pipeline::pipeline& p, const std::string& role, bool from_checkpoint) {
  const auto& found = *std::ranges::find(p.roles, role, &pipeline::role::name);
  std::visit(
      [&](const auto& table) {
        using kind = std::decay_t<decltype(table)>;
        constexpr bool learns =
            std::is_same_v<kind, pipeline::policy_table> || std::is_same_v<kind, pipeline::critic_table>;
        bool reads = requires {
          table.model;
        };
        if constexpr (requires { table.lora; })
          reads = reads && (!from_checkpoint || table.lora);
        else if constexpr (learns)
          reads = reads && !from_checkpoint;
        if (reads)
          check_role(p, table);
        if constexpr (std::is_same_v<kind,
                                     pipeline::critic_table> || std::is_same_v<kind, pipeline::reward_model_table>)
          roles::flowing_tokenizer(p);
      },
      found.options);
}

} // namespace millrace::actors
