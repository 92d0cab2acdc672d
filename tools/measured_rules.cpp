#include "tools/measured_rules.hpp"

#include "runtime/roles/rule_verifier_role.hpp"
#include "runtime/telemetry/trace.hpp"
#include "tools/median.hpp"

#include <algorithm>
#include <future>
#include <utility>

namespace millrace::tools {
namespace {

using telemetry::now_s;

/// Until the group's scores, or their failure, are there: a verifier answers every group once.
double seconds_of(roles::rule_verifier_role& verifier, const columns::column_set& group) {
  std::promise<void> answered;
  const double begin = now_s();
  verifier.add({}, group, [&answered](const roles::added_columns&, const std::string&) { answered.set_value(); });
  answered.get_future().wait();
  return now_s() - begin;
}

} // namespace

double scoring_s(const pipeline::pipeline& p, const std::vector<columns::column_set>& groups) {
  double slowest = 0;
  for (const auto* role : p.of<pipeline::rule_verifier_table>()) {
    roles::rule_verifier_role verifier(std::get<pipeline::rule_verifier_table>(role->options),
                                       columns::wanted_by(*role));
    roles::start(verifier.rules(), p, role->name);
    seconds_of(verifier, groups.front()); // processes of rules start with their first group
    std::vector<double> seconds;
    for (const auto& group : groups)
      seconds.push_back(seconds_of(verifier, group));
    slowest = std::max(slowest, median(std::move(seconds)));
  }
  return slowest;
}

} // namespace millrace::tools
