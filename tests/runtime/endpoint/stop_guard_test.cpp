#include "runtime/endpoint/stop_guard.hpp"
#include "runtime/text/tokenizer_json.hpp"

#include <doctest/doctest.h>

namespace stop_guard_test {

using namespace millrace;

namespace {

std::shared_ptr<const text::tokenizer> words() {
  return std::make_shared<const text::tokenizer>(
      text::read_tokenizer_json("tests/golden/models/tiny-chat/tokenizer.json"));
}

struct sent {
  std::string before, rest; ///< before the answer's end, and at it
};

sent pushed(const std::string& text, std::vector<std::string> stops, bool stopped) {
  const auto tok = words();
  endpoint::stop_guard guard(tok, std::move(stops));
  sent out;
  for (const auto token : tok->encode(text))
    out.before += guard.push(token);
  out.rest = guard.finish(stopped);
  return out;
}

} // namespace

TEST_CASE("text goes out at once where nothing can become a stop string") {
  const auto out = pushed("say it", {"xyz"}, false);
  CHECK(out.before == "say it");
  CHECK(out.rest == "");
}

TEST_CASE("what may become a stop string waits, and goes out where it does not") {
  const auto out = pushed("one two", {"two three"}, false);
  CHECK(out.before == "one ");
  CHECK(out.rest == "two");
  CHECK(pushed("aab", {"aac"}, false).before == "aab");
}

TEST_CASE("nothing of a stop string goes out, and nothing behind it") {
  const auto out = pushed("one STOP two", {"STOP", "P tw"}, true);
  CHECK(out.before + out.rest == "one ");
}

TEST_CASE("a character of several tokens goes out whole") {
  const auto out = pushed("1 \u2260 2 \U0001F600", {"!"}, false);
  CHECK(out.before + out.rest == "1 \u2260 2 \U0001F600");
}

} // namespace stop_guard_test
