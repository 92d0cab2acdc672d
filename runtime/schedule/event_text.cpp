#include "runtime/schedule/event_text.hpp"

#include "runtime/words/input_error.hpp"

#include <charconv>
#include <utility>

namespace millrace::schedule {

namespace {

std::string parts(const version_counts& tokens) {
  std::string text;
  for (const auto one : tokens) {
    text += text.empty() ? "" : ",";
    text += std::to_string(one.version);
    text += ':';
    text += std::to_string(one.tokens);
  }
  return text.empty() ? "-" : text;
}

std::string line(std::string_view word) {
  return std::string(word);
}

template <class... More>
std::string line(std::string_view word, const auto& next, const More&... more) {
  std::string text(word);
  text += ' ';
  if constexpr (std::is_arithmetic_v<std::decay_t<decltype(next)>>)
    return line(text + std::to_string(next), more...);
  else
    return line(text + std::string(next), more...);
}

struct writer {
  std::string operator()(const worker_joined& e) const {
    return line("joined", e.worker, e.capacity_groups, e.holds ? std::to_string(*e.holds) : "-",
                e.lent ? "lent" : "own", e.name);
  }

  std::string operator()(const worker_lost& e) const { return line("lost", e.worker); }

  std::string operator()(const version_acknowledged& e) const { return line("acknowledged", e.worker, e.version); }

  std::string operator()(const weights_overdue& e) const { return line("weights_overdue", e.worker, e.version); }

  std::string operator()(const group_finished& e) const {
    return line("finished", e.group, e.attempt, parts(e.tokens), e.baseline_tokens, parts(e.answers), e.surplus_tokens);
  }

  std::string operator()(const group_interrupted& e) const {
    return line("interrupted", e.group, e.attempt, parts(e.tokens));
  }

  std::string operator()(const group_ready& e) const { return line("ready", e.group, e.attempt); }

  std::string operator()(const group_flat& e) const { return line("flat", e.group, e.attempt); }

  std::string operator()(const group_failed& e) const {
    return line("failed", e.group, e.attempt, e.retryable ? "again" : "data", e.tokens, e.why);
  }

  std::string operator()(const group_overdue& e) const { return line("overdue", e.group, e.attempt); }

  std::string operator()(const group_lost& e) const { return line("group_lost", e.group, e.attempt); }

  std::string operator()(const batch_trained& e) const { return line("trained", e.step, e.part, e.tokens, e.masked); }

  std::string operator()(const training_lost& e) const { return line("training_lost", e.step, e.part); }

  std::string operator()(const prompts_exhausted& e) const { return line("prompts", e.count); }

  std::string operator()(const checkpointed& e) const { return line("saved", e.step); }

  std::string operator()(const stop_requested&) const { return "stop"; }

  std::string operator()(const checkpoint_wanted&) const { return "save"; }
};

class words {
public:
  explicit words(std::string_view text) : whole_(text), rest_(text) {}

  std::string_view next() {
    const auto end = rest_.find(' ');
    const auto found = rest_.substr(0, end);
    rest_.remove_prefix(end == std::string_view::npos ? rest_.size() : end + 1);
    if (found.empty())
      fail("one more word");
    return found;
  }

  std::string rest() { return std::string(std::exchange(rest_, {})); }

  template <class Number>
  Number number() {
    return number<Number>(next());
  }

  template <class Number>
  Number number(std::string_view text) {
    Number value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size())
      fail("a number, found '" + std::string(text) + "'");
    return value;
  }

  version_counts tokens() {
    version_counts found;
    auto text = next();
    if (text == "-")
      return found;
    while (!text.empty()) {
      const auto colon = text.find(':');
      const auto comma = std::min(text.find(','), text.size());
      if (colon == std::string_view::npos || colon > comma)
        fail("version:count");
      found.add(number<version_id>(text.substr(0, colon)),
                number<std::int64_t>(text.substr(colon + 1, comma - colon - 1)));
      text.remove_prefix(std::min(comma + 1, text.size()));
    }
    return found;
  }

  template <class Event>
  Event done(Event made) {
    if (!rest_.empty())
      fail("the end of the line");
    return made;
  }

  [[noreturn]] void fail(const std::string& want) const {
    throw input_error("event '" + std::string(whole_) + "', want " + want);
  }

private:
  std::string_view whole_;
  std::string_view rest_;
};

/// An event of a group's attempt.
event read_group_event(words& in, std::string_view kind) {
  if (kind != "finished" && kind != "interrupted" && kind != "ready" && kind != "flat" && kind != "failed"
      && kind != "overdue" && kind != "group_lost")
    in.fail("an event");
  const auto group = in.number<group_id>();
  const auto attempt = in.number<std::uint32_t>();
  if (kind == "ready")
    return in.done(group_ready{group, attempt});
  if (kind == "flat")
    return in.done(group_flat{group, attempt});
  if (kind == "overdue")
    return in.done(group_overdue{group, attempt});
  if (kind == "group_lost")
    return in.done(group_lost{group, attempt});
  if (kind == "interrupted")
    return in.done(group_interrupted{group, attempt, in.tokens()});
  if (kind == "finished") {
    group_finished e;
    e.group = group;
    e.attempt = attempt;
    e.tokens = in.tokens();
    e.baseline_tokens = in.number<std::int64_t>();
    e.answers = in.tokens();
    e.surplus_tokens = in.number<std::int64_t>();
    return in.done(e);
  }
  group_failed e;
  e.group = group;
  e.attempt = attempt;
  const auto how = in.next();
  if (how != "again" && how != "data")
    in.fail("again or data");
  e.retryable = how == "again";
  e.tokens = in.number<std::int64_t>();
  e.why = in.rest();
  return e;
}

} // namespace

std::string event_text(const event& what) {
  return std::visit(writer{}, what);
}

event read_event(std::string_view text) {
  words in(text);
  const auto kind = in.next();
  if (kind == "joined") {
    worker_joined e;
    e.worker = in.number<worker_id>();
    e.capacity_groups = in.number<std::uint32_t>();
    if (const auto holds = in.next(); holds != "-")
      e.holds = in.number<version_id>(holds);
    const auto place = in.next();
    if (place != "lent" && place != "own")
      in.fail("lent or own");
    e.lent = place == "lent";
    e.name = in.rest();
    return e;
  }
  if (kind == "lost")
    return in.done(worker_lost{in.number<worker_id>()});
  if (kind == "prompts")
    return in.done(prompts_exhausted{in.number<std::uint64_t>()});
  if (kind == "saved")
    return in.done(checkpointed{in.number<std::uint32_t>()});
  if (kind == "stop")
    return in.done(stop_requested{});
  if (kind == "save")
    return in.done(checkpoint_wanted{});
  if (kind == "acknowledged") {
    const auto worker = in.number<worker_id>();
    return in.done(version_acknowledged{worker, in.number<version_id>()});
  }
  if (kind == "weights_overdue") {
    const auto worker = in.number<worker_id>();
    return in.done(weights_overdue{worker, in.number<version_id>()});
  }
  if (kind == "trained") {
    batch_trained e;
    e.step = in.number<std::uint32_t>();
    e.part = in.number<std::uint32_t>();
    e.tokens = in.number<std::int64_t>();
    e.masked = in.number<std::int64_t>();
    return in.done(e);
  }
  if (kind == "training_lost") {
    const auto step = in.number<std::uint32_t>();
    return in.done(training_lost{step, in.number<std::uint32_t>()});
  }
  return read_group_event(in, kind);
}

} // namespace millrace::schedule
