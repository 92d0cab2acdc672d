#include "tests/chaos/chaos.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <string_view>

namespace millrace::tests {

bool long_sweep() {
  const char* set = std::getenv("MILLRACE_CHAOS");
  return set && std::string_view(set) == "long";
}

std::set<std::string> names_in(const std::filesystem::path& folder) {
  std::set<std::string> names;
  std::error_code gone;
  for (const auto& entry : std::filesystem::directory_iterator(folder, gone))
    names.insert(entry.path().filename().string());
  return names;
}

void check_books(const run_on_disk& files, int steps) {
  std::set<std::uint64_t> once;
  std::size_t trained = 0;
  for (const auto& [step, groups] : files.trained_groups()) {
    trained += groups.size();
    once.insert(groups.begin(), groups.end());
  }
  CHECK(trained == static_cast<std::size_t>(steps) * groups_per_step);
  CHECK(once.size() == trained);
  std::vector<int> rows;
  for (const auto& row : files.metrics())
    if (row.contains("policy/version"))
      rows.push_back(row.at("step"));
  std::vector<int> wanted;
  for (int step = 1; step <= steps; ++step)
    wanted.push_back(step);
  CHECK(rows == wanted);
  const auto status = files.status();
  CHECK(status.at("state") == "finished");
  const auto& ledger = status.at("ledger");
  auto accounted = ledger.at("trained").get<std::int64_t>();
  for (const auto& [reason, tokens] : ledger.at("dropped").items())
    accounted += tokens.get<std::int64_t>();
  CHECK(ledger.at("live") == 0);
  CHECK(ledger.at("generated") == accounted);
}

scratch_folder::scratch_folder() {
  const char* set = std::getenv("TMPDIR");
  before_ = set ? set : "";
  setenv("TMPDIR", folder_.path().c_str(), 1);
}

scratch_folder::~scratch_folder() {
  if (before_.empty())
    unsetenv("TMPDIR");
  else
    setenv("TMPDIR", before_.c_str(), 1);
}

} // namespace millrace::tests
