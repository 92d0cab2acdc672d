#include "tools/scoring_roles.hpp"

#include "runtime/roles/rule_verifier_role.hpp"
#include "runtime/words/input_error.hpp"

#include <algorithm>

namespace millrace::tools {

scoring_role scoring_role_of(const pipeline::stage& stage, const pipeline::role& role) {
  const auto made = [&](std::span<const pipeline::rule_entry> rules, const pipeline::rule_verifier_table& how) {
    return scoring_role{.name = stage.name.empty() ? role.name : stage.name + '.' + role.name,
                        .in = &stage.what,
                        .role = &role,
                        .rules = rules,
                        .workers = static_cast<std::size_t>(how.workers),
                        .deadline = std::chrono::milliseconds(how.deadline_ms)};
  };
  if (const auto* verifier = std::get_if<pipeline::rule_verifier_table>(&role.options))
    return made(verifier->rules, *verifier);
  const auto* evaluation = std::get_if<pipeline::evaluation_table>(&role.options);
  return made(evaluation ? evaluation->rules : std::span<const pipeline::rule_entry>(), {});
}

scoring_role scoring_role_named(const std::vector<pipeline::stage>& stages, const std::string& name) {
  std::vector<scoring_role> verifiers, evaluations;
  for (const auto& stage : stages)
    for (const auto& role : stage.what.roles)
      if (auto scorer = scoring_role_of(stage, role); !scorer.rules.empty())
        (role.kind() == pipeline::rule_verifier_table::kind ? verifiers : evaluations).push_back(std::move(scorer));
  if (name.empty() && verifiers.size() == 1)
    return verifiers.front();
  if (name.empty() && verifiers.empty() && evaluations.size() == 1)
    return evaluations.front();
  std::string names;
  verifiers.insert(verifiers.end(), evaluations.begin(), evaluations.end());
  for (const auto& scorer : verifiers) {
    if (scorer.name == name)
      return scorer;
    names += (names.empty() ? "" : ", ") + scorer.name;
  }
  if (names.empty())
    throw input_error(stages.front().what.file.string() + ": found no role with rules, want a rule_verifier");
  throw input_error(name.empty() ? stages.front().what.file.string() + ": found the roles with rules " + names
                                       + ", want --role with one of them"
                                 : "--role: found " + name + ", want one of " + names);
}

std::shared_ptr<const rules::rule_set> started_rules(const scoring_role& scorer) {
  auto set = roles::rules_of(scorer.rules);
  roles::start(*set, *scorer.in, scorer.role->name);
  return set;
}

} // namespace millrace::tools
