#include "runtime/supervision/prompt_results.hpp"

#include "runtime/words/columns.hpp"

#include <utility>

namespace millrace::supervision {

prompt_results::prompt_results(const pipeline::pipeline& p) {
  for (const auto* source : p.of<pipeline::source_table>())
    if (std::get<pipeline::source_table>(source->options).sampler == "difficulty")
      for (const auto* verifier : p.of<pipeline::rule_verifier_table>())
        if (figure_.empty())
          figure_ =
              column::reward_of(std::get<pipeline::rule_verifier_table>(verifier->options).rules.front().name).name;
}

void prompt_results::scored(std::uint64_t group, const std::map<std::string, summed>& summary) {
  if (const auto found = summary.find(figure_); !figure_.empty() && found != summary.end() && found->second.count > 0)
    shares_[group] = found->second.sum / static_cast<double>(found->second.count);
}

prompts_measured prompt_results::take() {
  prompts_measured results;
  for (const auto& [group, share] : std::exchange(shares_, {}))
    results.prompts.push_back({group, share});
  return results;
}

} // namespace millrace::supervision
