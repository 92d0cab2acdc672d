#include "runtime/telemetry/samples.hpp"

#include "runtime/formats/quoted.hpp"
#include "runtime/formats/strict_json.hpp"
#include "runtime/telemetry/printed.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <vector>

namespace millrace::telemetry {
namespace {

using json = nlohmann::ordered_json;

constexpr std::size_t most_bytes = 400;

/// One line for a terminal, at most so long.
std::string one_line(std::string_view text) {
  const bool cut = text.size() > most_bytes;
  if (cut) {
    std::size_t end = most_bytes;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80)
      --end; // not inside a character
    text = text.substr(0, end);
  }
  std::string line;
  for (const char c : text)
    line += c == '\n' ? std::string("\\n") : std::string(1, c);
  return formats::printable(line, line.size()) + (cut ? " ..." : "");
}

std::string answer_in_words(const json& answer) {
  const auto reward = answer.at("reward");
  return "  reward " + (reward.is_number() ? printed("%.4g", reward.get<double>()) : std::string("unknown"))
         + printed(", %lld tokens, ", static_cast<long long>(answer.at("tokens").get<std::int64_t>()))
         + answer.at("finish").get<std::string>() + ": " + one_line(answer.at("text").get<std::string>()) + '\n';
}

/// What is shown of one step's groups.
std::string step_in_words(const std::vector<json>& groups, std::size_t answers) {
  std::size_t longest = 0;
  for (const auto& group : groups)
    longest = std::max(longest, group.at("answers").size());
  std::vector<std::string> shown(groups.size());
  for (std::size_t i = 0, left = answers; i < longest; ++i)
    for (std::size_t g = 0; g < groups.size() && left > 0; ++g)
      if (i < groups[g].at("answers").size()) {
        shown[g] += answer_in_words(groups[g].at("answers")[i]);
        --left;
      }
  std::string text;
  for (std::size_t g = 0; g < groups.size(); ++g)
    if (!shown[g].empty())
      text += printed("step %lld, group %llu: ", static_cast<long long>(groups[g].at("step").get<std::int64_t>()),
                      static_cast<unsigned long long>(groups[g].at("group").get<std::uint64_t>()))
              + one_line(groups[g].at("prompt").get<std::string>()) + '\n' + shown[g];
  return text;
}

} // namespace

std::string samples_in_words(std::string_view rows, std::size_t answers) {
  std::string text;
  std::vector<json> groups;
  while (!rows.empty()) {
    const auto end = std::min(rows.find('\n'), rows.size());
    auto group = formats::parse_json<json>(rows.substr(0, end), "trajectories");
    rows.remove_prefix(std::min(end + 1, rows.size()));
    if (!groups.empty() && groups.front().at("step") != group.at("step"))
      text += step_in_words(std::exchange(groups, {}), answers);
    groups.push_back(std::move(group));
  }
  return text + step_in_words(groups, answers);
}

} // namespace millrace::telemetry
