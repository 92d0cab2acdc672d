#include "tests/support/long_functions.hpp"
#include "tests/support/temporary_folder.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

namespace house_test {

// The architecture as the includes have it: folders with arrows in one direction, and each library behind one folder.
// Then the tidiness that a reader relies on. tools/style checks the format besides.

namespace {

namespace fs = std::filesystem;

struct include_line {
  std::string file;   ///< from the root: "runtime/model/decoder.cpp"
  std::string target; ///< as written between the quotes or brackets
};

const std::vector<std::string> layers{"kernels", "algorithms", "runtime", "actors", "tools"};

std::string first_folder(const std::string& path) {
  return path.substr(0, path.find('/'));
}

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

constexpr int longest_line = 120, longest_function = 70, longest_source = 500, largest_room = 25;

/// Every C++ source of the tree, tests and all.
std::vector<fs::path> all_sources() {
  std::vector<fs::path> found;
  auto folders = layers;
  folders.push_back("tests");
  for (const auto& folder : folders)
    for (const auto& entry : fs::recursive_directory_iterator(folder))
      if (entry.is_regular_file() && is_source(entry.path()))
        found.push_back(entry.path());
  std::sort(found.begin(), found.end());
  return found;
}

/// Characters of a line, not bytes.
int columns_of(std::string_view line) {
  return static_cast<int>(std::count_if(line.begin(), line.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

/// Where a line of the file is too long, a line each.
std::string long_lines(const fs::path& path) {
  std::string found;
  const auto text = millrace::tests::read_file(path);
  int number = 1;
  for (std::size_t at = 0; at < text.size(); ++number) {
    const auto end = std::min(text.find('\n', at), text.size());
    if (const int columns = columns_of(std::string_view(text).substr(at, end - at)); columns > longest_line)
      found += path.generic_string() + ":" + std::to_string(number) + ": " + std::to_string(columns) + " columns\n";
    at = end + 1;
  }
  return found;
}

/// The folders below `root` that hold sources of their own.
std::vector<fs::path> rooms_of(const std::string& root) {
  std::set<fs::path> found;
  for (const auto& entry : fs::recursive_directory_iterator(root))
    if (entry.is_regular_file() && is_source(entry.path()))
      found.insert(entry.path().parent_path());
  return {found.begin(), found.end()};
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

TEST_CASE("what a run leaves on a disk goes through writers that say when the disk refuses") {
  std::string unchecked;
  for (const auto& path : all_sources())
    if (const auto file = path.generic_string(); !file.starts_with("tests/") && !file.starts_with("tools/bench/"))
      if (millrace::tests::read_file(path).find("ofstream") != std::string::npos)
        unchecked += file + '\n';
  CHECK(unchecked == "");
}

TEST_CASE("each library is included by one folder only") {
  CHECK(strays({"ucp/", "ucs/", "uct/", "ucm/"}, {"runtime/transport/"}) == "");
  CHECK(strays({"caf/"}, {"runtime/cluster/", "actors/protocol/"}) == "");
  CHECK(strays({"toml++/", "toml.hpp"}, {"runtime/pipeline/"}) == "");
  CHECK(strays({"CLI/"}, {"tools/command_line.cpp"}) == "");
  CHECK(strays({"torch/", "ATen/", "c10/"}, {"algorithms/", "runtime/model/", "runtime/rollout/", "runtime/train/",
                                             "runtime/roles/", "runtime/replay/", "runtime/collective/", "tools/"})
        == "");
  CHECK(strays({"torch/csrc/distributed/", "gloo/"}, {"runtime/collective/gloo_wire.cpp"}) == "");
}

TEST_CASE("words depend on nothing, and a run's files on nothing but words and formats") {
  for (const auto& [file, target] : includes()) {
    CAPTURE(file + " includes " + target);
    if (file.starts_with("runtime/words/"))
      CHECK((target.starts_with("runtime/words/") || target.find('/') == std::string::npos));
    if (file.starts_with("runtime/run_files/") && target.starts_with("runtime/"))
      CHECK((target.starts_with("runtime/run_files/") || target.starts_with("runtime/formats/")
             || target.starts_with("runtime/words/")));
  }
}

TEST_CASE("nothing but tests includes tests") {
  CHECK(strays({"tests/"}, {}) == "");
}

TEST_CASE("the folders of runtime/ that are pure do not know those that do") {
  // What decides, checks or reads must be testable without what moves bytes, writes files or computes.
  const std::vector<std::string> doers{"runtime/transport/", "runtime/collective/", "runtime/cluster/",
                                       "runtime/run_files/", "runtime/telemetry/",  "runtime/rollout/",
                                       "runtime/train/"};
  for (const std::string folder : {"runtime/words/", "runtime/formats/", "runtime/text/", "runtime/schedule/",
                                   "runtime/pipeline/", "runtime/data/", "runtime/stated/", "runtime/rules/"})
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
  REQUIRE(below.contains("actors/coordinator"));
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

TEST_CASE("no line is longer than 120 columns") {
  std::string found;
  for (const auto& path : all_sources())
    found += long_lines(path);
  for (const auto& entry : fs::recursive_directory_iterator("."))
    if (const auto path = entry.path().lexically_normal(); *path.begin() != "build")
      if (path.filename() == "CMakeLists.txt" || path.extension() == ".cmake")
        found += long_lines(path);
  CHECK(found == "");
}

TEST_CASE("no function is longer than 70 lines, no source longer than 500") {
  std::string found;
  std::size_t functions = 0;
  for (const auto& path : all_sources()) {
    const auto text = millrace::tests::read_file(path);
    if (const auto lines = std::count(text.begin(), text.end(), '\n'); lines > longest_source)
      found += path.generic_string() + ": " + std::to_string(lines) + " lines\n";
    for (const auto& [name, line, lines] : millrace::tests::functions_in(text)) {
      ++functions;
      if (lines > longest_function)
        found += path.generic_string() + ":" + std::to_string(line) + ": " + std::to_string(lines) + " lines: " + name
                 + '\n';
    }
  }
  CHECK(functions > 2000);
  CHECK(found == "");
}

TEST_CASE("nothing is left to do in a comment") {
  const std::regex left("\\b(TO"
                        "DO|FIX"
                        "ME|XX"
                        "X)\\b");
  std::string found;
  for (const auto& path : all_sources())
    if (std::regex_search(millrace::tests::read_file(path), left))
      found += path.generic_string() + '\n';
  CHECK(found == "");
}

TEST_CASE("every room has a page that says what is in it, and at most 25 sources") {
  std::string found;
  for (const std::string root : {"kernels", "algorithms", "runtime", "actors", "tools", "tests"}) {
    if (!fs::exists(fs::path(root) / "README.md"))
      found += root + " has no README.md\n";
    if (root != "runtime" && root != "actors")
      continue;
    for (const auto& room : rooms_of(root)) {
      if (!fs::exists(room / "README.md"))
        found += room.generic_string() + " has no README.md\n";
      const auto sources = std::count_if(fs::directory_iterator(room), {}, [](const fs::directory_entry& entry) {
        return entry.path().extension() == ".cpp";
      });
      if (sources > largest_room)
        found += room.generic_string() + " has " + std::to_string(sources) + " sources\n";
    }
  }
  CHECK(found == "");
}

} // namespace house_test
