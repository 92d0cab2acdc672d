#include "runtime/schedule/saved_state.hpp"

#include "runtime/input_error.hpp"

#include <charconv>
#include <limits>
#include <sstream>

namespace millrace::schedule {

namespace {

constexpr std::string_view first_line = "millrace schedule 1";

std::string quoted(std::string_view text) {
  std::string result("'");
  result += text;
  result += "'";
  return result;
}

/// Words of one line after another; every mistake ends in an `input_error` that names the line.
class line_reader {
public:
  explicit line_reader(std::string_view text) : rest_(text) {}

  /// The next line, whose first word has to be `word`.
  void next(std::string_view word) {
    advance(word);
    if (take() != word)
      fail("line " + quoted(line_), quoted(std::string(word) + " ..."));
  }

  /// Whether the line to come begins with `word`.
  bool next_is(std::string_view word) const { return rest_.substr(0, word.size() + 1) == std::string(word) + ' '; }

  void next_exactly(std::string_view line) {
    advance(line);
    words_ = {};
    if (line_ != line)
      fail("line " + quoted(line_.substr(0, 60)), quoted(line));
  }

  bool rest_of_line_is(std::string_view word) const { return words_ == word; }

  std::string_view word() {
    const auto found = take();
    if (found.empty())
      fail("line " + quoted(line_), "one more word");
    return found;
  }

  template <class Number>
  Number number() {
    const auto found = word();
    Number value{};
    const auto [end, error] = std::from_chars(found.data(), found.data() + found.size(), value);
    if (error != std::errc{} || end != found.data() + found.size())
      fail(quoted(found), "a number in range");
    return value;
  }

  std::int64_t count() {
    const auto value = number<std::int64_t>();
    // Sums of a few counts must not overflow.
    if (value < 0 || value > std::numeric_limits<std::int64_t>::max() / 16)
      fail(quoted(std::to_string(value)), "a count");
    return value;
  }

  void end_of_line() {
    if (!words_.empty())
      fail(quoted(words_), "the end of the line");
  }

  void end_of_text() const {
    if (!rest_.empty())
      fail("text after 'end'", "nothing");
  }

  [[noreturn]] void fail(const std::string& found, const std::string& want) const {
    throw input_error("schedule state:" + std::to_string(line_number_) + ": found " + found + ", want " + want);
  }

private:
  void advance(std::string_view wanted) {
    ++line_number_;
    const auto end = rest_.find('\n');
    if (end == std::string_view::npos)
      fail("the end of the text", quoted(wanted));
    line_ = rest_.substr(0, end);
    words_ = line_;
    rest_.remove_prefix(end + 1);
  }

  std::string_view take() {
    const auto end = words_.find(' ');
    const auto found = words_.substr(0, end);
    words_.remove_prefix(end == std::string_view::npos ? words_.size() : end + 1);
    return found;
  }

  std::string_view rest_;
  std::string_view line_;
  std::string_view words_;
  int line_number_ = 0;
};

std::string shortest(double value) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, value).ptr;
  return {text, end};
}

config read_settings(line_reader& in) {
  config result;
  in.next("settings");
  result.groups_per_step = in.number<std::uint32_t>();
  result.steps = in.number<std::uint32_t>();
  result.depth = in.number<double>();
  result.stale_max = in.number<std::uint32_t>();
  const auto action = in.word();
  if (action != "wait" && action != "train")
    in.fail(quoted(action), "wait or train");
  result.action = action == "wait" ? stale_action::wait : stale_action::train;
  const auto select = in.word();
  if (select != "in_order" && select != "oldest")
    in.fail(quoted(select), "in_order or oldest");
  result.select = select == "in_order" ? select_order::in_order : select_order::oldest;
  const auto flip = in.word();
  if (flip != "in_flight" && flip != "drain")
    in.fail(quoted(flip), "in_flight or drain");
  result.in_flight_update = flip == "in_flight";
  result.checkpoint_every = in.number<std::uint32_t>();
  result.attempts_per_group = in.number<std::uint32_t>();
  in.end_of_line();
  if (const auto found = problems(result); !found.empty())
    in.fail(found.front(), "settings that can be run");
  return result;
}

ledger::account read_account(line_reader& in) {
  ledger::account result;
  result.groups = in.count();
  result.tokens = in.count();
  in.end_of_line();
  return result;
}

} // namespace

std::string write(const saved_state& state) {
  std::ostringstream out;
  const auto& set = state.settings;
  out << first_line << '\n'
      << "settings " << set.groups_per_step << ' ' << set.steps << ' ' << shortest(set.depth) << ' ' << set.stale_max << ' '
      << to_string(set.action) << ' ' << to_string(set.select) << ' ' << (set.in_flight_update ? "in_flight" : "drain") << ' '
      << set.checkpoint_every << ' ' << set.attempts_per_group << '\n'
      << "step " << state.step << '\n'
      << "prompts " << (state.prompts ? std::to_string(*state.prompts) : "unknown") << '\n'
      << "admitted " << state.books.admitted << '\n'
      << "tokens " << state.books.generated << ' ' << state.books.lost << '\n'
      << "trained " << state.books.trained.groups << ' ' << state.books.trained.tokens << '\n';
  for (std::size_t i = 0; i < drop_reasons; ++i)
    out << "dropped " << to_string(static_cast<drop_reason>(i)) << ' ' << state.books.dropped[i].groups << ' '
        << state.books.dropped[i].tokens << '\n';
  out << "staleness " << state.stale.in_flight << ' ' << state.stale.in_queue << '\n';
  for (const auto& [versions, bucket] : state.stale.at_use)
    out << "used " << versions << ' ' << bucket.groups << ' ' << bucket.tokens << '\n';
  out << "live " << state.groups.size() << '\n';
  for (const auto& one : state.groups)
    out << "group " << one.id << ' ' << one.attempt << ' ' << one.failures << '\n';
  out << "end\n";
  return out.str();
}

saved_state read_saved_state(std::string_view text) {
  line_reader in(text);
  saved_state result;
  in.next_exactly(first_line);
  result.settings = read_settings(in);
  in.next("step");
  result.step = in.number<std::uint32_t>();
  in.end_of_line();
  in.next("prompts");
  if (in.rest_of_line_is("unknown"))
    in.word();
  else
    result.prompts = in.number<std::uint64_t>();
  in.end_of_line();
  auto& books = result.books;
  in.next("admitted");
  books.admitted = in.count();
  in.end_of_line();
  in.next("tokens");
  books.generated = in.count();
  books.lost = in.count();
  in.end_of_line();
  in.next("trained");
  books.trained = read_account(in);
  for (std::size_t i = 0; i < drop_reasons; ++i) {
    in.next("dropped");
    const auto want = to_string(static_cast<drop_reason>(i));
    if (const auto found = in.word(); found != want)
      in.fail(quoted(found), quoted(want));
    books.dropped[i] = read_account(in);
  }
  in.next("staleness");
  result.stale.in_flight = in.count();
  result.stale.in_queue = in.count();
  in.end_of_line();
  while (in.next_is("used")) {
    in.next("used");
    const auto versions = in.number<std::uint32_t>();
    if (!result.stale.at_use.empty() && versions <= result.stale.at_use.rbegin()->first)
      in.fail(quoted(std::to_string(versions)), "ascending versions");
    const auto bucket = read_account(in);
    result.stale.at_use[versions] = {bucket.groups, bucket.tokens};
  }
  in.next("live");
  const auto live = in.count();
  in.end_of_line();
  books.live[static_cast<std::size_t>(group_state::queued)].groups = live;
  for (std::int64_t i = 0; i < live; ++i) {
    in.next("group");
    saved_state::live_group one;
    one.id = in.number<std::uint64_t>();
    one.attempt = in.number<std::uint32_t>();
    one.failures = in.number<std::uint32_t>();
    in.end_of_line();
    if (one.id >= static_cast<std::uint64_t>(books.admitted) || (!result.groups.empty() && one.id <= result.groups.back().id))
      in.fail("group " + std::to_string(one.id), "ascending ids below " + std::to_string(books.admitted));
    result.groups.push_back(one);
  }
  in.next_exactly("end");
  in.end_of_text();
  if (const auto wrong = ledger(books).check(); !wrong.empty())
    throw input_error("schedule state: " + wrong + ", want sums that close");
  if (static_cast<std::uint64_t>(books.trained.groups) > std::uint64_t{result.step} * result.settings.groups_per_step)
    throw input_error("schedule state: " + std::to_string(books.trained.groups) + " groups trained in " + std::to_string(result.step) +
                      " steps, want at most " + std::to_string(result.settings.groups_per_step) + " a step");
  return result;
}

std::string in_words(const config& settings) {
  return "groups_per_step " + std::to_string(settings.groups_per_step) + ", depth " + shortest(settings.depth) + ", stale_max " +
         std::to_string(settings.stale_max) + ", " + std::string(to_string(settings.action)) + ", " +
         std::string(to_string(settings.select)) + ", " + (settings.in_flight_update ? "in flight" : "drain");
}

} // namespace millrace::schedule
