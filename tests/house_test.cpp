#include "tests/support/temporary_folder.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

// The architecture as the includes have it: folders with arrows in one direction, and each library behind one folder.

namespace {

namespace fs = std::filesystem;

struct include_line {
  std::string file;   ///< from the root: "runtime/model/decoder.cpp"
  std::string target; ///< as written between the quotes or brackets
};

const std::vector<std::string> layers{"kernels", "algorithms", "runtime", "actors", "tools"};

std::string first_folder(const std::string& path) { return path.substr(0, path.find('/')); }

bool is_source(const fs::path& path) {
  const std::set<std::string> kinds{".hpp", ".cpp", ".cu", ".cuh", ".h"};
  return kinds.contains(path.extension().string());
}

std::vector<include_line> all_includes() {
  static const std::regex directive("^\\s*#\\s*include\\s*[<\"]([^>\"]+)[>\"]");
  std::vector<include_line> found;
  for (const auto& layer : layers)
    for (const auto& entry : fs::recursive_directory_iterator(layer)) {
      if (!entry.is_regular_file() || !is_source(entry.path()))
        continue;
      const auto text = millrace::tests::read_file(entry.path());
      std::size_t at = 0;
      while (at < text.size()) {
        const auto end = std::min(text.find('\n', at), text.size());
        const std::string line = text.substr(at, end - at);
        std::smatch match;
        if (line.find("include") != std::string::npos && std::regex_search(line, match, directive))
          found.push_back({entry.path().generic_string(), match[1]});
        at = end + 1;
      }
    }
  return found;
}

const std::vector<include_line>& includes() {
  static const auto all = all_includes();
  return all;
}

/// What includes something starting with one of `prefixes` from outside the `allowed` folders, a line each.
std::string strays(const std::vector<std::string>& prefixes, const std::vector<std::string>& allowed) {
  std::string lines;
  for (const auto& [file, target] : includes()) {
    const auto starts_with = [](const std::string& text) {
      return [&text](const std::string& start) { return text.starts_with(start); };
    };
    if (std::any_of(prefixes.begin(), prefixes.end(), starts_with(target))
        && std::none_of(allowed.begin(), allowed.end(), starts_with(file)))
      lines += file + " includes " + target + '\n';
  }
  return lines;
}

} // namespace

TEST_CASE("includes go kernels <- algorithms <- runtime <- actors <- tools") {
  REQUIRE(includes().size() > 500);
  const auto height = [](const std::string& folder) {
    return std::find(layers.begin(), layers.end(), folder) - layers.begin();
  };
  std::string upward;
  for (const auto& [file, target] : includes())
    if (const auto to = height(first_folder(target)); to < std::ssize(layers) && to > height(first_folder(file)))
      upward += file + " includes " + target + '\n';
  CHECK(upward == "");
}

TEST_CASE("each library is included by one folder only") {
  CHECK(strays({"ucp/", "ucs/", "uct/", "ucm/"}, {"runtime/transport/"}) == "");
  CHECK(strays({"caf/"}, {"runtime/cluster/", "actors/"}) == "");
  CHECK(strays({"toml++/", "toml.hpp"}, {"runtime/pipeline/"}) == "");
  CHECK(strays({"CLI/"}, {"tools/"}) == "");
  CHECK(strays({"torch/", "ATen/", "c10/"},
               {"algorithms/", "runtime/model/", "runtime/rollout/", "runtime/train/", "actors/", "tools/"}) == "");
}

TEST_CASE("the folders of runtime/ that are pure do not know those that do") {
  // What decides, checks or reads must be testable without what moves bytes, writes files or computes.
  const std::vector<std::string> doers{"runtime/transport/", "runtime/cluster/", "runtime/telemetry/",
                                       "runtime/rollout/", "runtime/train/"};
  for (const std::string folder : {"runtime/schedule/", "runtime/pipeline/", "runtime/data/", "runtime/rules/"})
    for (const auto& [file, target] : includes())
      if (file.starts_with(folder)) {
        CAPTURE(file + " includes " + target);
        const auto is_included = [&](const std::string& doer) { return target.starts_with(doer); };
        CHECK(std::none_of(doers.begin(), doers.end(), is_included));
      }
}

TEST_CASE("the folders of the architecture do not include each other in a circle") {
  std::map<std::string, std::set<std::string>> below;
  const auto folder_of = [](const std::string& path) { return path.substr(0, path.rfind('/')); };
  for (const auto& [file, target] : includes())
    if (target.find('/') != std::string::npos && fs::exists(target) && folder_of(target) != folder_of(file))
      below[folder_of(file)].insert(folder_of(target));
  REQUIRE(below.contains("actors"));
  for (bool grown = true; grown;) {
    grown = false;
    for (auto& [folder, known] : below) {
      auto further = known;
      for (const auto& next : known)
        if (below.contains(next))
          further.insert(below.at(next).begin(), below.at(next).end());
      grown |= further.size() > known.size();
      known = std::move(further);
    }
  }
  for (const auto& [folder, known] : below) {
    CAPTURE(folder);
    if (!folder.starts_with("tools")) // a program and its commands
      CHECK_FALSE(known.contains(folder));
  }
}

TEST_CASE("headers guard themselves, and nothing is included twice or from a parent folder") {
  for (const auto& layer : layers)
    for (const auto& entry : fs::recursive_directory_iterator(layer))
      if (entry.path().extension() == ".hpp") {
        CAPTURE(entry.path().string());
        CHECK(millrace::tests::read_file(entry.path()).starts_with("#pragma once\n"));
      }
  std::map<std::pair<std::string, std::string>, int> times;
  for (const auto& [file, target] : includes()) {
    CAPTURE(file + " includes " + target);
    CHECK_FALSE(target.starts_with(".."));
    CHECK(++times[{file, target}] == 1);
  }
}
