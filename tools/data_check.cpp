#include "tools/data_check.hpp"

#include "runtime/data/source.hpp"
#include "runtime/formats/quoted.hpp"
#include "runtime/model/chat_tokens.hpp"
#include "runtime/pipeline/located.hpp"
#include "runtime/roles/demonstrations_role.hpp"
#include "runtime/roles/row_options.hpp"
#include "runtime/roles/rule_verifier_role.hpp"
#include "runtime/words/enum_words.hpp"
#include "runtime/words/input_error.hpp"
#include "tools/ordered_scores.hpp"
#include "tools/text_models.hpp"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

namespace millrace::tools {
namespace {

constexpr std::uint64_t most_made_up = 1000; ///< rows of a source without end
constexpr std::size_t most_shown = 2;        ///< prompts
constexpr std::size_t most_examples = 3;     ///< answers that a rule does not like
constexpr std::size_t most_reasons = 64, most_scores = 1000;
constexpr std::size_t rows_at_once = 256; ///< that are tried together

/// The reasons for which rows are left out, counted.
class reasons {
public:
  /// @param line `file:line: reason`
  void add(const std::string& line) {
    ++rows_;
    auto key = kind_of(line);
    if (!by_kind_.contains(key) && by_kind_.size() >= most_reasons)
      key = "another reason";
    auto& found = by_kind_[key];
    if (found.rows++ == 0)
      found.example = line;
  }

  std::uint64_t rows() const { return rows_; }

  std::vector<skipped_rows> sorted() const {
    std::vector<skipped_rows> all;
    for (const auto& [kind, rows] : by_kind_)
      all.push_back(rows);
    std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.rows > b.rows; });
    return all;
  }

private:
  /// The line without what differs from row to row: its place, numbers, what is quoted.
  static std::string kind_of(const std::string& line) {
    const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
    std::size_t at = 0;
    for (auto colon = line.find(':'); colon != std::string::npos; colon = line.find(':', colon + 1)) {
      auto end = colon + 1;
      while (end < line.size() && is_digit(line[end]))
        ++end;
      if (end > colon + 1 && line.compare(end, 2, ": ") == 0) {
        at = end;
        break;
      }
    }
    std::string kind;
    for (; at < line.size(); ++at)
      if (line.compare(at, 2, " '") == 0) // not the apostrophe of a word
        at = std::max(at + 1, line.rfind('\''));
      else if (!is_digit(line[at]))
        kind += line[at];
    return kind;
  }

  std::map<std::string, skipped_rows> by_kind_;
  std::uint64_t rows_ = 0;
};

/// A row's expected answer in one of the `answer_forms`.
std::string in_form(const std::string& answer, std::size_t form) {
  switch (form) {
  case 1:
    return "\\boxed{" + answer + '}';
  case 2:
    return "#### " + answer;
  case 3:
    return "Answer: " + answer;
  default:
    return answer;
  }
}

/// Lets the rules of one role score the rows' own answers.
class gold_check {
public:
  explicit gold_check(const scoring_role& scorer)
      : rules_(started_rules(scorer)), scores_(rules_, scorer.workers, scorer.deadline,
                                               [this](const auto& found) { found_.push_back(found.front()); }) {
    for (std::size_t r = 0; r < scorer.rules.size(); ++r) {
      const auto* type = rules::find_rule_type(scorer.rules[r].type);
      // A rule that can score a row without an expected answer does not look at it.
      const auto& scorer_of = *rules_->rules()[r].scorer;
      const bool compares =
          scorer_of.scores_expected_answer() && ((type && type->outside) || !scorer_of.unreadable("").empty());
      gold_.push_back({.role = scorer.name, .rule = rules_->rules()[r].name, .compares = compares});
    }
  }

  void add(const data::row& row, const text::tokenizer& tok) {
    if (row.answer.empty() || std::none_of(gold_.begin(), gold_.end(), [](const auto& g) { return g.compares; }))
      return;
    const auto about = std::make_shared<const rules::row_context>(rules::row_context{.prompt = row.prompt,
                                                                                     .data_source = row.data_source,
                                                                                     .extra_info = row.extra,
                                                                                     .ground_truth = row.ground_truth});
    waiting_.push_back({row.where, row.answer, about});
    if (waiting_.size() == rows_at_once)
      try_waiting(tok);
  }

  const std::shared_ptr<const rules::rule_set>& rules() const { return rules_; }

  std::vector<gold_scores> finish(const text::tokenizer& tok) {
    try_waiting(tok);
    return std::move(gold_);
  }

private:
  struct waiting_row {
    std::string where, answer;
    std::shared_ptr<const rules::row_context> about;
    std::vector<rules::rule_set_score> tried = {}; ///< by form
  };

  void ask(const waiting_row& row, std::size_t form, const text::tokenizer& tok) {
    rules::verifier_row given{.text = in_form(row.answer, form), .answer = row.answer, .row = row.about};
    given.completion_ids = tok.encode(given.text);
    given.tokens = static_cast<std::int64_t>(given.completion_ids.size());
    scores_.add({std::move(given)});
  }

  bool has_full_marks(const rules::rule_set_score& score) const {
    for (std::size_t r = 0; r < gold_.size(); ++r)
      if (const auto& one = score.by_rule[r];
          gold_[r].compares && one.status != rules::score_status::not_applicable
          && (one.status != rules::score_status::value || one.value < gold_[r].full_marks()))
        return false;
    return true;
  }

  /// The answers as they are written, then the other forms of those that some rule does not like.
  void try_waiting(const text::tokenizer& tok) {
    for (const auto& row : waiting_)
      ask(row, 0, tok);
    take([](const waiting_row&) { return std::size_t{1}; });
    const auto more = [&](const waiting_row& row) {
      return has_full_marks(row.tried.front()) ? std::size_t{0} : answer_forms.size() - 1;
    };
    for (const auto& row : waiting_)
      for (std::size_t form = 1; form <= more(row); ++form)
        ask(row, form, tok);
    take(more);
    for (const auto& row : waiting_)
      for (std::size_t r = 0; r < gold_.size(); ++r)
        if (gold_[r].compares)
          note(gold_[r], row, r);
    waiting_.clear();
  }

  /// Waits for what was asked and gives each row as many scores as `count` says.
  template <class Count>
  void take(Count count) {
    scores_.finish();
    std::size_t next = 0;
    for (auto& row : waiting_)
      for (std::size_t left = count(row); left > 0; --left)
        row.tried.push_back(std::move(found_[next++]));
    found_.clear();
  }

  static void note(gold_scores& gold, const waiting_row& row, std::size_t rule) {
    std::optional<std::size_t> best;
    for (std::size_t form = 0; form < row.tried.size(); ++form)
      if (const auto& score = row.tried[form].by_rule[rule];
          score.status == rules::score_status::value && (!best || score.value > row.tried[*best].by_rule[rule].value))
        best = form;
    const auto& first = row.tried.front().by_rule[rule];
    const auto example = row.where + ": answer " + formats::in_quotes(row.answer);
    if (best) {
      auto& same = bucket(gold, row.tried[*best].by_rule[rule].value);
      ++same.by_form[*best];
      count_in(same, example);
    } else if (first.status != rules::score_status::not_applicable) {
      const bool failed = first.status == rules::score_status::error;
      count_in(gold.failures[failed ? word(first.kind) : "invalid"], example + ": " + first.reason);
    }
  }

  static gold_scores::tally& bucket(gold_scores& gold, double score) {
    const auto near = gold.by_score.lower_bound(score);
    return gold.by_score.size() < most_scores || near == gold.by_score.end() ? gold.by_score[score] : near->second;
  }

  static void count_in(gold_scores::tally& same, const std::string& example) {
    if (same.rows++ < most_examples)
      same.examples.push_back(example);
  }

  std::shared_ptr<const rules::rule_set> rules_;
  std::vector<gold_scores> gold_;
  std::vector<waiting_row> waiting_;
  std::vector<rules::rule_set_score> found_;
  ordered_scores scores_;
};

/// The rows of a table, once through, in the file's order. @param path of the table, as `roles.prompts`
template <class Table>
std::unique_ptr<data::source> rows_of_table(const pipeline::pipeline& p, const Table& table, const std::string& path,
                                            std::vector<std::shared_ptr<const rules::rule_set>> rules,
                                            data::on_skip skip) {
  auto options = roles::row_options(table);
  options.shuffle = false;
  options.epochs = 1;
  options.seed = static_cast<std::uint64_t>(p.run.seed);
  options.unusable = roles::unusable_by(std::move(rules));
  return pipeline::located(p, pipeline::rows_key(table, path),
                           [&] { return roles::rows_of(table, std::move(options), std::move(skip)); });
}

/// Reads one role's rows, or those of one of its sources.
class data_reading {
public:
  /// @param part name of one of several sources; else ""
  data_reading(const pipeline::stage& stage, const pipeline::role& role, const std::string& part) : stage_(stage) {
    data_.name = stage.name.empty() ? role.name : stage.name + '.' + role.name;
    if (!part.empty())
      data_.name += '.' + part;
    std::vector<scoring_role> scorers;
    if (auto own = scoring_role_of(stage, role); !own.rules.empty())
      scorers.push_back(std::move(own));
    const pipeline::role* reader = &role;
    for (const auto* behind : stage.what.behind(role.name)) {
      if (auto scorer = scoring_role_of(stage, *behind); !scorer.rules.empty())
        scorers.push_back(std::move(scorer));
      if (reader == &role
          && (std::holds_alternative<pipeline::demonstrations_table>(behind->options)
              || std::holds_alternative<pipeline::rollout_table>(behind->options)))
        reader = behind;
    }
    demonstrations_ = std::get_if<pipeline::demonstrations_table>(&reader->options);
    words_ = text_model_of(stage.what, *reader);
    for (const auto& scorer : scorers)
      gold_.push_back(std::make_unique<gold_check>(scorer));
  }

  template <class Table>
  checked_data read(const Table& table, const std::string& path, std::int64_t max_prompt_tokens) {
    data_.made_up = table.generator && table.generator->endless();
    data_.from = table.generator ? table.generator->type + ", made up" : table.file.string();
    longest_ = std::min(max_prompt_tokens, words_.config.max_positions - 1);
    std::vector<std::shared_ptr<const rules::rule_set>> rules;
    for (const auto& gold : gold_)
      rules.push_back(gold->rules());
    try {
      const auto rows = rows_of_table(stage_.what, table, path, std::move(rules),
                                      [this](const std::string& line) { reasons_.add(line); });
      while (!data_.made_up || data_.rows < most_made_up) {
        const auto row = rows->next();
        if (!row)
          break;
        ++data_.rows;
        take(*row, max_prompt_tokens);
      }
      data_.rows += rows->skipped();
    } catch (const input_error& error) {
      data_.rows += reasons_.rows() - refused_;
      data_.failed = error.what();
    }
    data_.skipped = reasons_.sorted();
    for (auto& gold : gold_)
      for (auto& rule : gold->finish(*words_.tok))
        data_.gold.push_back(std::move(rule));
    return std::move(data_);
  }

private:
  void take(const data::row& row, std::int64_t max_prompt_tokens) {
    std::vector<std::int32_t> tokens;
    try {
      tokens = model::encode_chat(words_, row.prompt);
      ++data_.lengths[tokens.size()];
      if (static_cast<std::int64_t>(tokens.size()) > longest_)
        throw input_error("a prompt of " + std::to_string(tokens.size()) + " tokens, want at most "
                          + std::to_string(longest_));
      if (demonstrations_)
        roles::write_demonstrations(words_, *demonstrations_, max_prompt_tokens,
                                    {.prompt = row.prompt,
                                     .answer = {},
                                     .data_source = {},
                                     .demonstrations = row.demonstrations,
                                     .margin = row.margin});
    } catch (const input_error& error) {
      ++refused_;
      reasons_.add(row.where + ": " + error.what());
      return;
    }
    ++data_.used;
    for (const auto& gold : gold_)
      gold->add(row, *words_.tok);
    if (data_.prompts.size() < most_shown) {
      auto text = words_.tok->decode(tokens);
      data_.prompts.push_back({row.where, std::move(tokens), std::move(text)});
    }
  }

  const pipeline::stage& stage_;
  const pipeline::demonstrations_table* demonstrations_ = nullptr; ///< nullptr: prompts go to a rollout
  model::checkpoint words_;
  std::vector<std::unique_ptr<gold_check>> gold_;
  std::int64_t longest_ = 0; ///< tokens of a prompt
  reasons reasons_;
  std::uint64_t refused_ = 0; ///< rows that the file could read and a role cannot use
  checked_data data_;
};

} // namespace

double gold_scores::full_marks() const {
  return by_score.empty() ? 1 : std::max(1.0, by_score.rbegin()->first);
}

std::uint64_t gold_scores::rows() const {
  std::uint64_t all = 0;
  for (const auto& [score, answers] : by_score)
    all += answers.rows;
  for (const auto& [kind, answers] : failures)
    all += answers.rows;
  return all;
}

std::uint64_t gold_scores::full_rows() const {
  const auto found = by_score.find(full_marks());
  return found == by_score.end() ? 0 : found->second.rows;
}

std::vector<checked_data> check_data(const pipeline::stage& stage, const pipeline::role& role) {
  std::vector<checked_data> found;
  if (const auto* evaluation = std::get_if<pipeline::evaluation_table>(&role.options)) {
    found.push_back(
        data_reading(stage, role, "").read(*evaluation, "roles." + role.name, evaluation->max_prompt_tokens));
    return found;
  }
  const auto& source = std::get<pipeline::source_table>(role.options);
  pipeline::each_rows(source, role.name, [&](const auto& rows, const std::string& path) {
    std::string part;
    if constexpr (requires { rows.weight; })
      part = rows.name;
    found.push_back(data_reading(stage, role, part).read(rows, path, source.max_prompt_tokens));
  });
  return found;
}

std::size_t length_at(const checked_data& data, double share) {
  std::uint64_t all = 0, seen = 0;
  for (const auto& [length, rows] : data.lengths)
    all += rows;
  for (const auto& [length, rows] : data.lengths)
    if (static_cast<double>(seen += rows) >= share * static_cast<double>(all))
      return length;
  return data.lengths.empty() ? 0 : data.lengths.rbegin()->first;
}

} // namespace millrace::tools
