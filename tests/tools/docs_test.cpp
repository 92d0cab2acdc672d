#include "tests/tools/tiny_run.hpp"

#include <doctest/doctest.h>

#include <regex>

namespace docs_test {

using namespace millrace::tests;

namespace {

/// The fenced block between `<!-- NAME: begin -->` and `<!-- NAME: end -->` of a page, without its fences.
std::string part_of(const std::filesystem::path& page, const std::string& name) {
  const std::string text = read_file(page);
  const std::string begin = "<!-- " + name + ": begin -->\n```text\n";
  const std::string end = "```\n<!-- " + name + ": end -->\n";
  const auto from = text.find(begin);
  const auto to = text.find(end);
  REQUIRE_MESSAGE(from != std::string::npos, page.string() << " has no line " << begin);
  REQUIRE_MESSAGE(to != std::string::npos, page.string() << " has no line " << end);
  return text.substr(from + begin.size(), to - from - begin.size());
}

std::string printed_by(const strings& arguments) {
  const auto command = run_to_end(command_line(arguments));
  REQUIRE(command.status == 0);
  return command.out;
}

/// The first line in which two texts differ, both versions; empty: they are equal.
std::string first_difference(const std::string& page, const std::string& program) {
  for (std::size_t a = 0, b = 0, line = 1; a < page.size() || b < program.size(); ++line) {
    const auto a_end = std::min(page.find('\n', a), page.size()),
               b_end = std::min(program.find('\n', b), program.size());
    const auto in_page = page.substr(std::min(a, page.size()), a_end - a);
    const auto in_program = program.substr(std::min(b, program.size()), b_end - b);
    if (in_page != in_program)
      return "line " + std::to_string(line) + ": the page has \"" + in_page + "\", the program prints \"" + in_program
             + "\"; tools/docs writes the page anew";
    a = a_end + 1;
    b = b_end + 1;
  }
  return page == program ? "" : "the texts end differently";
}

/// Every Markdown file of the tree.
std::vector<std::filesystem::path> pages() {
  std::vector<std::filesystem::path> found{"README.md"};
  for (const auto* folder :
       {"actors", "algorithms", "docs", "findings", "kernels", "pipelines", "runtime", "tests", "tools"})
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
      if (entry.path().extension() == ".md")
        found.push_back(entry.path());
  return found;
}

/// The heading's name behind a `#`: lower case, words joined by hyphens.
std::string anchor_of(const std::string& heading) {
  std::string name;
  for (const char c : heading)
    if (std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-')
      name += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    else if (c == ' ')
      name += '-';
  return name;
}

bool has_heading(const std::filesystem::path& page, const std::string& anchor) {
  const std::string text = read_file(page);
  static const std::regex heading("(?:^|\n)#+ ([^\n]+)");
  for (std::sregex_iterator at(text.begin(), text.end(), heading), none; at != none; ++at)
    if (anchor_of((*at)[1]) == anchor)
      return true;
  return false;
}

} // namespace

TEST_CASE("the reference of keys in docs/pipelines.md is what check --keys prints") {
  const auto page = part_of("docs/pipelines.md", "keys"), program = printed_by({"check", "--keys"});
  CHECK(first_difference(page, program) == "");
  CHECK(page.size() == program.size());
}

TEST_CASE("the presets in docs/schedules.md are what schedule list prints") {
  const auto page = part_of("docs/schedules.md", "presets"), program = printed_by({"schedule", "list"});
  CHECK(first_difference(page, program) == "");
  CHECK(page.size() == program.size());
}

TEST_CASE("every link between the pages leads to a file and a heading that are there") {
  static const std::regex link("\\]\\(([^)#:]*)(#[^)]*)?\\)");
  std::size_t links = 0;
  for (const auto& page : pages()) {
    const std::string text = read_file(page);
    REQUIRE_MESSAGE(!text.empty(), page.string());
    for (std::sregex_iterator at(text.begin(), text.end(), link), none; at != none; ++at, ++links) {
      const auto target = (*at)[1].length() == 0 ? page : page.parent_path() / (*at)[1].str();
      CAPTURE(page.string() + " links to " + (*at)[0].str());
      CHECK(std::filesystem::exists(target));
      if ((*at)[2].matched)
        CHECK(has_heading(target, (*at)[2].str().substr(1)));
    }
  }
  CHECK(links > 10);
}

TEST_CASE("the README stays a page: at most 8 KB") {
  CHECK(std::filesystem::file_size("README.md") <= 8192);
}

} // namespace docs_test
