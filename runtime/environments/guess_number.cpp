#include "kernels/counter_random.hpp"
#include "runtime/environments/plain_environment.hpp"
#include "runtime/words/input_error.hpp"

#include <algorithm>
#include <charconv>
#include <optional>

namespace millrace::environments {

extern const environment_type guess_number;

namespace {

/// The last integer that a text states.
std::optional<std::int64_t> last_integer(std::string_view text) {
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  const auto end = std::find_if(text.rbegin(), text.rend(), is_digit).base();
  const auto begin = std::find_if_not(std::make_reverse_iterator(end), text.rend(), is_digit).base();
  std::int64_t value = 0;
  if (begin == end || std::from_chars(&*begin, &*begin + (end - begin), value).ec != std::errc())
    return std::nullopt;
  return begin != text.begin() && *std::prev(begin) == '-' ? -value : value;
}

struct range {
  std::int64_t low, high;
};

class guessing final : public episode {
public:
  guessing(std::int64_t number, range within) : number_(number), within_(within) {}

  saying take(const written_turn& turn) override {
    const auto guess = last_integer(turn.text);
    if (!guess)
      return {.messages = {{"user", "I found no number. Guess a number from " + std::to_string(within_.low) + " to "
                                        + std::to_string(within_.high) + "."}}};
    if (*guess == number_)
      return {.reward = 1, .done = true};
    return {.messages = {{"user", *guess < number_ ? "higher" : "lower"}}};
  }

private:
  std::int64_t number_;
  range within_;
};

class guess_environment final : public plain_environment {
public:
  explicit guess_environment(range within) : within_(within) {}

protected:
  std::vector<chat_turn> opening(const episode_row& row) const override {
    auto messages = row.prompt;
    messages.push_back({"user", "I think of a number from " + std::to_string(within_.low) + " to "
                                    + std::to_string(within_.high)
                                    + ". Guess it. I say higher or lower. Answer with a number alone."});
    if (messages.size() > 1 && messages[messages.size() - 2].role == "user") { // most templates want turns in turn
      messages[messages.size() - 2].content += "\n\n" + messages.back().content;
      messages.pop_back();
    }
    return messages;
  }

  std::unique_ptr<episode> start(const episode_row&, std::uint64_t seed) const override {
    const auto count = static_cast<double>(within_.high - within_.low + 1);
    const auto drawn = static_cast<std::int64_t>(count * kernels::uniform(seed, 0, 0));
    return std::make_unique<guessing>(std::min(within_.low + drawn, within_.high), within_);
  }

private:
  range within_;
};

std::unique_ptr<environment> make_guess(const option_values& given) {
  const range within{std::get<std::int64_t>(given.at("low")), std::get<std::int64_t>(given.at("high"))};
  if (within.high < within.low)
    throw input_error("high: found " + std::to_string(within.high) + ", want an integer >= low, "
                      + std::to_string(within.low));
  return std::make_unique<guess_environment>(within);
}

} // namespace

const environment_type guess_number{
    .name = "guess_number",
    .meaning = "thinks of a number and says higher or lower to each guess; the right one gives reward 1",
    .options =
        {{.name = "low",
          .fallback = std::int64_t{1},
          .allowed = between(-1e9, 1e9),
          .meaning = "the least number that it thinks of"},
         {.name = "high", .fallback = std::int64_t{100}, .allowed = between(-1e9, 1e9), .meaning = "the greatest one"}},
    .make = make_guess};

} // namespace millrace::environments
