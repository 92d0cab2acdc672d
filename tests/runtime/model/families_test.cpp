#include "runtime/model/families.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <set>
#include <stdexcept>

namespace families_test {

using namespace millrace;

TEST_CASE("families: each row has names of its own and a golden model") {
  std::set<std::string_view> names, architectures;
  for (const auto& family : model::families()) {
    CAPTURE(std::string(family.name));
    CHECK(names.insert(family.name).second);
    CHECK(architectures.insert(family.architecture).second);
    CHECK(model::find_family(family.name) == &family);
    bool golden = false;
    for (const auto& folder : std::filesystem::directory_iterator("tests/golden/models"))
      golden = golden || folder.path().filename().string().find(family.name) != std::string::npos;
    CHECK(golden);
  }
}

TEST_CASE("families: a name that no row has is refused with those that there are") {
  CHECK(model::find_family("gpt2") == nullptr);
  CHECK_THROWS_WITH_AS(model::family_named("gpt2"), "model family 'gpt2': unknown, want llama, qwen2 or qwen3",
                       std::invalid_argument);
}

} // namespace families_test
