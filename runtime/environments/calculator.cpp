#include "runtime/environments/expression.hpp"
#include "runtime/environments/plain_environment.hpp"
#include "runtime/words/input_error.hpp"

#include <optional>

namespace millrace::environments {

extern const environment_type calculator;

namespace {

/// What stands between the parentheses of the first call, or up to the text's end where they do not close.
std::optional<std::string_view> call_in(std::string_view text, std::string_view name) {
  const auto begin = text.find(std::string(name) + '(');
  if (begin == std::string_view::npos)
    return std::nullopt;
  const auto inner = text.substr(begin + name.size() + 1);
  int depth = 1;
  for (std::size_t i = 0; i < inner.size(); ++i) {
    depth += inner[i] == '(' ? 1 : inner[i] == ')' ? -1 : 0;
    if (depth == 0)
      return inner.substr(0, i);
  }
  return inner;
}

/// A turn that calls is answered with the value; one that does not call ends the episode.
class calculator_episode final : public episode {
public:
  explicit calculator_episode(std::string_view name) : name_(name) {}

  saying take(const written_turn& turn) override {
    const auto call = call_in(turn.text, name_);
    if (!call)
      return {.done = true};
    try {
      return {.messages = {{"user", value_of_expression(*call)}}};
    } catch (const input_error& error) {
      return {.messages = {{"user", std::string("error: ") + error.what()}}};
    }
  }

private:
  std::string_view name_;
};

class calculator_environment final : public plain_environment {
public:
  calculator_environment(std::string name, bool example) : name_(std::move(name)), example_(example) {}

protected:
  std::vector<chat_turn> opening(const episode_row& row) const override {
    const std::string how = "You have a calculator. Write " + name_ + "(12 * 7) to use it: you are told the value.";
    std::vector<chat_turn> messages;
    auto rest = std::span(row.prompt);
    if (!rest.empty() && rest.front().role == "system") {
      messages.push_back({"system", rest.front().content + "\n\n" + how});
      rest = rest.subspan(1);
    } else {
      messages.push_back({"system", how});
    }
    if (example_)
      for (const auto& turn : {chat_turn{"user", "What is 12 * 7?"}, chat_turn{"assistant", name_ + "(12 * 7)"},
                               chat_turn{"user", "84"}, chat_turn{"assistant", "84"}})
        messages.push_back(turn);
    messages.insert(messages.end(), rest.begin(), rest.end());
    return messages;
  }

  std::unique_ptr<episode> start(const episode_row&, std::uint64_t) const override {
    return std::make_unique<calculator_episode>(name_);
  }

private:
  std::string name_;
  bool example_;
};

std::unique_ptr<environment> make_calculator(const option_values& given) {
  const auto& name = std::get<std::string>(given.at("name"));
  if (name.empty() || name.find('(') != std::string::npos)
    throw input_error("name: found \"" + name + "\", want a word that stands before a parenthesis");
  return std::make_unique<calculator_environment>(name, std::get<bool>(given.at("example")));
}

} // namespace

const environment_type calculator{
    .name = "calculator",
    .meaning = "tells the value of an expression that a turn asks for; a turn that asks for none ends the episode",
    .options =
        {{.name = "name",
          .fallback = std::string("calc"),
          .allowed = any(),
          .meaning = "a call is this word and an expression in parentheses"},
         {.name = "example", .fallback = true, .allowed = any(), .meaning = "show one use before the row's prompt"}},
    .make = make_calculator};

} // namespace millrace::environments
