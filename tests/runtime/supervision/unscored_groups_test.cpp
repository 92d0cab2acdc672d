#include "runtime/supervision/unscored_groups.hpp"

#include <doctest/doctest.h>

namespace unscored_groups_test {

using millrace::supervision::unscored_groups;

TEST_CASE("groups without a score end a run once they are more than their share of the last ones") {
  unscored_groups book(0.5);
  for (int i = 0; i < 15; ++i)
    book.unscored("rules", "took longer than 5 ms");
  CHECK(book.too_many() == ""); // too few are known
  book.unscored("rules", "took longer than 5 ms");
  CHECK(book.too_many()
        == "16 of the last 16 groups could not be scored, more than run.max_unscored allows; the last one: rules: took "
           "longer than 5 ms");
  for (int i = 0; i < 16; ++i)
    book.scored();
  CHECK(book.too_many() == "");
  for (int i = 0; i < 64; ++i)
    book.scored();
  for (int i = 0; i < 32; ++i)
    book.unscored("rules", "again");
  CHECK(book.too_many() == "");
  book.unscored("rules", "again");
  CHECK(book.too_many().starts_with("33 of the last 64 groups"));
}

TEST_CASE("groups without a score are counted by role and step") {
  unscored_groups book(1);
  CHECK(book.take_figures() == std::map<std::string, double>{{"groups/unscored", 0.0}});
  book.unscored("rules", "x");
  book.unscored("rules", "y");
  book.unscored("judge", "z");
  CHECK(book.take_figures()
        == std::map<std::string, double>{
            {"groups/unscored", 3.0}, {"groups/unscored/judge", 1.0}, {"groups/unscored/rules", 2.0}});
  CHECK(book.take_figures().at("groups/unscored") == 0);
  CHECK(book.too_many() == "");
}

} // namespace unscored_groups_test
