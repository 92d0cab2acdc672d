#include "runtime/formats/quoted.hpp"
#include "runtime/formats/strict_json.hpp"
#include "runtime/formats/text_lines.hpp"
#include "runtime/words/enum_words.hpp"
#include "runtime/words/input_error.hpp"
#include "tools/command.hpp"
#include "tools/commands/pipeline_arguments.hpp"
#include "tools/given_answers.hpp"
#include "tools/ordered_scores.hpp"
#include "tools/text_models.hpp"

#include <nlohmann/json.hpp>

#include <chrono>
#include <cstdio>
#include <deque>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace millrace::tools {
namespace {

constexpr std::size_t most_together = 1024; ///< answers to one row of data that are scored as one group

struct verify_arguments {
  pipeline_arguments pipeline;
  std::string rows, role;
};

/// How a rule failed at an answer; "" = it did not.
std::string failure_of(const rules::score& score) {
  return score.status == rules::score_status::error     ? word(score.kind)
         : score.status == rules::score_status::invalid ? "invalid"
                                                        : "";
}

std::string score_text(const rules::score& score) {
  return score.status == rules::score_status::value ? nlohmann::json(score.value).dump() : "null";
}

/// Scores the rows of a file and prints a line for each.
class verification {
public:
  explicit verification(const scoring_role& scorer)
      : reader_(scorer), rules_(started_rules(scorer)), together_(rules_->wants_groups()),
        scores_(rules_, scorer.workers, scorer.deadline, [this](const auto& scores) { print(scores); }) {}

  void score(const std::string& file) {
    formats::text_lines lines(file, "a JSONL file");
    for (std::string line;;) {
      try {
        if (!lines.next(line))
          break;
        if (formats::is_blank(line))
          continue;
        add(lines.number() == 1 && line.starts_with("\xef\xbb\xbf") ? line.substr(3) : line, lines.where());
      } catch (const input_error& error) {
        if (lines.number() == 0) // it cannot be read at all
          throw;
        refuse(lines.where(), error.what());
      }
    }
    flush();
    scores_.finish();
    if (rows_ + bad_ == 0)
      throw input_error(file + ": found no rows, want at least one");
  }

  /// @returns the exit status
  int summary() const {
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    std::fprintf(stderr, "%zu rows scored in %.2f s, %zu of them without a reward, %zu rows not read", rows_, seconds,
                 rows_ - rewarded_, bad_);
    if (rewarded_ > 0)
      std::fprintf(stderr, "; mean reward %.6g", sum_ / static_cast<double>(rewarded_));
    std::fputc('\n', stderr);
    return bad_ > 0 ? 1 : 0;
  }

private:
  void add(std::string_view text, std::string where) {
    auto row = reader_.read(text);
    if (!group_.empty() && (!together_ || group_.size() == most_together || !same_row(group_.front(), row)))
      flush();
    if (!group_.empty())
      row.row = group_.front().row;
    group_.push_back(std::move(row));
    places_.push_back(std::move(where));
  }

  void flush() {
    if (!group_.empty())
      scores_.add(std::exchange(group_, {}));
  }

  void refuse(const std::string& where, const std::string& why) {
    ++bad_;
    // A line that was too long says where it stands itself.
    std::fprintf(stderr, "%s\n", formats::printable(why.starts_with(where) ? why : where + ": " + why, 4096).c_str());
  }

  void print(const std::vector<rules::rule_set_score>& scores) {
    for (const auto& score : scores) {
      const std::string where = std::move(places_.front());
      places_.pop_front();
      std::string rewards, failures;
      for (std::size_t r = 0; r < score.by_rule.size(); ++r) {
        const auto& one = score.by_rule[r];
        const auto name = formats::json_line(rules_->rules()[r].name);
        rewards += (r ? "," : "") + name + ':' + score_text(one);
        if (const auto kind = failure_of(one); !kind.empty()) {
          failures += (failures.empty() ? "" : ",") + name + ":\"" + kind + '"';
          say_first(rules_->rules()[r].name, kind, where, one.reason);
        }
      }
      ++rows_;
      if (score.total.status == rules::score_status::value) {
        ++rewarded_;
        sum_ += score.total.value;
      }
      std::printf("{\"reward\":%s,\"rewards\":{%s},\"failures\":{%s}}\n", score_text(score.total).c_str(),
                  rewards.c_str(), failures.c_str());
    }
  }

  /// Why a rule fails, at the first answer of each kind.
  void say_first(const std::string& rule, const std::string& kind, const std::string& where,
                 const std::string& reason) {
    if (said_.emplace(rule, kind).second)
      std::fprintf(stderr, "%s\n",
                   formats::printable(where + ": rule " + rule + ": " + kind + ": " + reason, 4096).c_str());
  }

  given_answers reader_;
  std::shared_ptr<const rules::rule_set> rules_;
  bool together_;                          ///< the answers to one row of data
  std::vector<rules::verifier_row> group_; ///< read and not yet handed to the rules
  std::deque<std::string> places_;         ///< `file:line` of the rows that have no line yet
  std::set<std::pair<std::string, std::string>> said_;
  std::size_t rows_ = 0, rewarded_ = 0, bad_ = 0;
  double sum_ = 0;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  ordered_scores scores_;
};

int run_verify(const verify_arguments& given) {
  const auto stages = with_starting_models(pipeline::read_stages(given.pipeline.files, given.pipeline.overrides));
  verification work(scoring_role_named(stages, given.role));
  work.score(given.rows);
  if (std::fflush(stdout) != 0)
    throw input_error("stdout: cannot be written");
  return work.summary();
}

} // namespace

command verify_command() {
  const auto given = std::make_shared<verify_arguments>();
  return {.name = "verify",
          .help = "Scores given answers with a pipeline's rules, without a model; one JSON line a row on stdout",
          .footer = R"(A row of the file is a row of data (docs/rows.md) with the answer as "completion":
    {"prompt": "What is 47 plus 12?", "answer": "59", "completion": "It is 59."}
"tokens" (a number, or the ids) and "truncated" (true or false) say more of the answer; both may be left out.
Each line on stdout is {"reward": number or null, "rewards": {RULE: number or null}, "failures": {RULE: KIND}}.
A kind is timeout, crash, malformed or refused, or invalid for a row that the rule cannot score.
A row that cannot be read has no line: stderr says where and why.
Rules that want groups get together what stands together and is about the same row of data.
Exit status: 0, or 1 where a row could not be read.)",
          .arguments = {given->pipeline.file(),
                        given->pipeline.set(),
                        {.name = "--rows",
                         .to = &given->rows,
                         .help = "JSONL: the answers, one a line; it is read as a stream, /dev/stdin will do",
                         .required = true},
                        {.name = "--role",
                         .to = &given->role,
                         .help = "Which verifier or evaluation has the rules, where there are several; STAGE.ROLE of a "
                                 "file with stages"}},
          .run = [given] { return run_verify(*given); }};
}

} // namespace millrace::tools
