#include "tools/measured_rules.hpp"

#include "runtime/roles/rule_verifier_role.hpp"
#include "runtime/telemetry/trace.hpp"
#include "tools/median.hpp"

#include <algorithm>
#include <future>
#include <memory>
#include <utility>

namespace millrace::tools {
namespace {

using telemetry::now_s;

constexpr double scoring_for_s = 5; // of each verifier

/// Waits for the scores of a group: a verifier answers every group once. @returns why it has none; "" = it has
std::string complaint_of(roles::rule_verifier_role& verifier, const columns::column_set& group) {
  const auto answered = std::make_shared<std::promise<std::string>>(); // outlives the call that keeps it
  auto complaint = answered->get_future();
  verifier.add({}, group, [answered](const roles::added_columns& added, const std::string& error) {
    answered->set_value(error.empty() ? added.complaint : error);
  });
  return complaint.get();
}

} // namespace

scoring_figures measured_scoring(const pipeline::pipeline& p, const std::vector<columns::column_set>& groups) {
  scoring_figures found;
  for (const auto* role : p.of<pipeline::rule_verifier_table>()) {
    roles::rule_verifier_role verifier(std::get<pipeline::rule_verifier_table>(role->options),
                                       columns::wanted_by(*role));
    roles::start(verifier.rules(), p, role->name);
    const double start = now_s();
    auto first = complaint_of(verifier, groups.front()); // processes of rules start with their first group
    std::vector<double> seconds{now_s() - start};
    std::size_t failed = first.empty() ? 0 : 1;
    for (std::size_t i = 1; i < groups.size() && now_s() - start < scoring_for_s; ++i) {
      const double begin = now_s();
      const auto complaint = complaint_of(verifier, groups[i]);
      seconds.push_back(now_s() - begin);
      failed += complaint.empty() ? 0 : 1;
      first = first.empty() ? complaint : first;
    }
    if (failed > 0)
      found.notes.push_back(role->name + " could not score " + std::to_string(failed) + " of "
                            + std::to_string(seconds.size()) + " groups, the first: " + first);
    if (seconds.size() > 1)
      seconds.erase(seconds.begin()); // with the start of processes
    found.seconds = std::max(found.seconds, median(std::move(seconds)));
  }
  return found;
}

} // namespace millrace::tools
