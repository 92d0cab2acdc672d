#include "runtime/supervision/unscored_answers.hpp"

#include "runtime/words/enum_words.hpp"
#include "runtime/words/failure_kind.hpp"

#include <algorithm>

namespace millrace::supervision {
namespace {

/// " (crash 12, timeout 3)", or "" where no kind is known.
std::string in_brackets(const std::map<std::string, std::int64_t>& kinds) {
  std::string text;
  for (const auto& [kind, count] : kinds)
    text += (text.empty() ? " (" : ", ") + kind + ' ' + std::to_string(count);
  return text.empty() ? text : text + ')';
}

} // namespace

std::string unscored_answers::add(const std::string& role, const group_columns& group) {
  const bool dropped = !group.complaint.empty();
  // A role that does not count answers lost its group as one.
  const std::int64_t answers = std::max<std::int64_t>(group.scores.answers, 1);
  const std::int64_t lost = dropped ? answers : group.scores.lost;
  auto& book = books_[role];
  book.last.push_back({lost, answers});
  book.lost += lost;
  book.answers += answers;
  if (book.last.size() > window) {
    book.lost -= book.last.front()[0];
    book.answers -= book.last.front()[1];
    book.last.pop_front();
  }
  if (lost < answers) {
    book.lost_in_a_row = 0;
    book.failures_in_a_row.clear();
  } else {
    ++book.lost_in_a_row;
  }
  for (const auto& [kind, count] : group.scores.failures) {
    failures_[kind] += count;
    if (lost == answers)
      book.failures_in_a_row[kind] += count;
  }
  if (lost == 0)
    return "";
  book.last_line = "group " + std::to_string(group.group) + ": " + (dropped ? group.complaint : group.scores.first);
  if (dropped) {
    ++dropped_[role];
    return "";
  }
  masked_ += lost;
  if (told_++ > 0)
    return "";
  return "group " + std::to_string(group.group) + ": " + role + ": " + std::to_string(lost) + " of "
         + std::to_string(answers) + " answers masked, without a score: " + group.scores.first;
}

std::string unscored_answers::too_many() const {
  for (const auto& [role, book] : books_) {
    if (const auto most = most_lost_.find(role);
        most != most_lost_.end() && book.last.size() >= fewest
        && static_cast<double>(book.lost) > most->second * static_cast<double>(book.answers))
      return "roles." + role + ": " + std::to_string(book.lost) + " of the last " + std::to_string(book.answers)
             + " answers were lost for want of a score, more than its max_failures allows; the last one: "
             + book.last_line;
    if (book.lost_in_a_row >= window)
      return "roles." + role + ": every one of the last " + std::to_string(book.lost_in_a_row) + " groups was lost"
             + in_brackets(book.failures_in_a_row) + ", and none is left to train; the last one: " + book.last_line;
  }
  return "";
}

std::map<std::string, double> unscored_answers::take_figures() {
  std::map<std::string, double> figures{{"groups/unscored", 0.0}, {"answers/masked", static_cast<double>(masked_)}};
  for (const auto& [role, count] : dropped_) {
    figures["groups/unscored/" + role] = static_cast<double>(count);
    figures["groups/unscored"] += static_cast<double>(count);
  }
  for (const auto kind : words_of<failure_kind>())
    figures["verifier/failures/" + std::string(kind)] = static_cast<double>(failures_[std::string(kind)]);
  dropped_.clear();
  failures_.clear();
  masked_ = told_ = 0;
  return figures;
}

} // namespace millrace::supervision
