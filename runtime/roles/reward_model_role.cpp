#include "runtime/roles/reward_model_role.hpp"

#include "runtime/columns/answer_columns.hpp"
#include "runtime/columns/column_builder.hpp"
#include "runtime/columns/column_origin.hpp"
#include "runtime/columns/prompt_columns.hpp"
#include "runtime/model/computing_threads.hpp"
#include "runtime/model/inference_decoder.hpp"
#include "runtime/model/score_head.hpp"
#include "runtime/roles/role_kinds.hpp"
#include "runtime/roles/role_model.hpp"
#include "runtime/words/input_error.hpp"

#include <algorithm>
#include <numeric>
#include <stdexcept>

namespace millrace::roles {
namespace {

/// The model's ids of the conversation with each answer as its last turn.
std::vector<std::vector<std::int32_t>> conversations(const columns::column_set& columns, const text::tokenizer& words,
                                                     const text::chat_template& chat) {
  auto turns = columns::prompt_in(columns);
  turns.push_back({"assistant", ""});
  std::vector<std::vector<std::int32_t>> out;
  for (const auto text : columns::by_answer(columns.view(column::text), columns.view(column::text_lengths))) {
    turns.back().content.assign(text.begin(), text.end());
    out.push_back(words.encode(chat.render(turns, text::opening::none)));
  }
  return out;
}

} // namespace

reward_model_role::reward_model_role(pipeline::reward_model_table table, const model::checkpoint& model, ids reads_ids,
                                     int threads, at::Device device)
    : table_(std::move(table)), scorer_(model.config, model::placed_on(model.parameters, device)), threads_(threads) {
  if (reads_ids == ids::of_policy)
    return;
  model::chat_of(model);
  tokenizer_ = model.tok;
  chat_ = model.chat;
}

std::shared_ptr<reward_model_role> reward_model_role::load(const pipeline::pipeline& p, const pipeline::role& role,
                                                           int threads) {
  const auto& table = std::get<pipeline::reward_model_table>(role.options);
  const auto& source = p.models.at(table.model);
  auto scorer = model::load_checkpoint(source.path, {.weights = true, .kept = source.dtype, .score_head = true});
  if (!scorer.config.score_head)
    throw input_error(source.path.string() + ": a language model, want a sequence-classification model of one label");
  if (!source.chat_template.empty())
    model::use_chat_template(scorer, source.chat_template);
  const bool same = !scorer.tok || same_tokens(*flowing_tokenizer(p), *scorer.tok);
  if (same)
    check_same_tokens(p, scorer);
  return std::make_shared<reward_model_role>(table, scorer, same ? ids::of_policy : ids::its_own, threads,
                                             device_for(p, role, table.model));
}

float reward_model_role::reward_of(const pipeline::reward_model_table& table, float score) {
  const auto reward = static_cast<float>((score - table.mean) / table.deviation);
  const auto most = static_cast<float>(table.clip);
  return most > 0 ? std::clamp(reward, -most, most) : reward;
}

transport::wanted_columns reward_model_role::reads() const {
  if (tokenizer_)
    return {.required = column::names(column::prompt, column::prompt_lengths, column::text, column::text_lengths)};
  return {.required = column::names(column::prompt_tokens, column::tokens, column::lengths),
          .optional = column::names(column::turns, column::turn_ends, column::turn_new_segment)};
}

std::vector<float> reward_model_role::scores(const columns::column_set& columns) const {
  const auto segments = columns::segments_in(columns);
  if (!tokenizer_ && segments.empty())
    return model::answer_scores(scorer_, columns.view(column::prompt_tokens), columns::answers_in(columns),
                                table_.tokens_at_once);
  std::vector<float> scores;
  if (!tokenizer_) { // it reads the conversation that an answer ends with
    const auto answers = columns::answers_in(columns);
    for (std::size_t i = 0; i < answers.size(); ++i) {
      const auto end = model::ending_of(columns.view(column::prompt_tokens), answers[i], segments.at(i));
      const std::vector<std::int32_t> behind(end.answer.begin(), end.answer.end());
      scores.push_back(model::answer_scores(scorer_, end.prompt, std::span(&behind, 1), table_.tokens_at_once).at(0));
    }
    return scores;
  }
  const std::vector<std::vector<std::int32_t>> nothing(1);
  for (const auto& text : conversations(columns, *tokenizer_, *chat_))
    scores.push_back(model::answer_scores(scorer_, text, nothing, table_.tokens_at_once).at(0));
  return scores;
}

added_columns reward_model_role::added(const columns::column_set& columns) const {
  added_columns result;
  model::use_computing_threads(threads_);
  auto reward = scores(columns);
  for (float& one : reward)
    one = reward_of(table_, one);
  result.scores.answers = static_cast<std::int64_t>(reward.size());
  if (std::any_of(reward.begin(), reward.end(), [](float one) { return std::isnan(one); })) {
    result.complaint = "the model's score of an answer is not a number";
    return result;
  }
  const summed sum{std::accumulate(reward.begin(), reward.end(), 0.0), result.scores.answers};
  const auto own = column::reward_of(table_.name);
  columns::column_builder added;
  added.add(own, reward);
  result.summary[own.name] = sum;
  if (table_.alone) {
    added.add(column::reward, reward);
    result.summary[std::string(column::reward.name)] = sum;
  }
  result.columns = added.add_all(columns::origin_of(own.name, {0, static_cast<std::uint32_t>(threads_)})).finish();
  return result;
}

void reward_model_role::add(const process_group&, columns::column_set columns, answer_to<added_columns> done) {
  thread_.post([this, columns = std::move(columns), done = std::move(done)] {
    added_columns result;
    std::string failure;
    try {
      result = added(columns);
    } catch (const std::invalid_argument& unfit) {
      // For example, the text is longer than the model's context. Another attempt would fail too.
      result.complaint = unfit.what();
    } catch (const std::exception& error) {
      failure = error.what();
    }
    done(std::move(result), std::move(failure));
  });
}

role_abilities made(const role_setup& setup, const pipeline::reward_model_table&) {
  return {.adds_columns = reward_model_role::load(*setup.pipeline, setup.role(), setup.threads())};
}

} // namespace millrace::roles
