#include "actors/reward_model.hpp"

#include "actors/column_origin.hpp"
#include "actors/tokenizer_match.hpp"
#include "runtime/input_error.hpp"
#include "runtime/model/inference_decoder.hpp"
#include "runtime/model/score_head.hpp"
#include "runtime/train/trainable.hpp"

#include <ATen/Parallel.h>

#include <algorithm>
#include <numeric>
#include <stdexcept>

namespace millrace::actors {
namespace {

/// The model's ids of the conversation with each answer as its last turn.
std::vector<std::vector<std::int32_t>> conversations(const process_group& group, const column_set& columns,
                                                     const model::tokenizer& words, const model::chat_template& chat) {
  std::vector<model::message> turns;
  for (const auto& turn : group.prompt)
    turns.push_back({turn.role, turn.content});
  turns.push_back({"assistant", ""});
  std::vector<std::vector<std::int32_t>> out;
  for (const auto text : by_answer(columns.view<char>("text"), columns.view<std::int32_t>("text_lengths"))) {
    turns.back().content.assign(text.begin(), text.end());
    out.push_back(words.encode(chat.render(turns, false)));
  }
  return out;
}

} // namespace

reward_model::reward_model(pipeline::reward_model_table table, const model::checkpoint& model, bool same_tokens, int threads, at::Device device)
    : table_(std::move(table)), scorer_(model.config, model::placed_on(model.parameters, device)), threads_(threads) {
  if (same_tokens)
    return;
  model::chat_of(model);
  tokenizer_ = model.tok;
  chat_ = model.chat;
}

std::shared_ptr<reward_model> reward_model::load(const pipeline::pipeline& p, const pipeline::reward_model_table& table, int threads) {
  const auto& source = p.models.at(table.model);
  auto scorer = model::load_checkpoint(source.path, {.weights = true, .score_head = true});
  if (!scorer.config.score_head)
    throw input_error(source.path.string() + ": a language model, want a sequence-classification model of one label");
  if (!source.chat_template.empty())
    scorer.chat = model::named_chat_template(source.chat_template);
  const bool same = !scorer.tok || same_tokens(*flowing_tokenizer(p), *scorer.tok);
  if (same)
    check_same_tokens(p, scorer);
  return std::make_shared<reward_model>(table, scorer, same, threads, train::device_named(p.run.device));
}

float reward_model::reward_of(const pipeline::reward_model_table& table, float score) {
  const auto reward = static_cast<float>((score - table.mean) / table.deviation);
  const auto most = static_cast<float>(table.clip);
  return most > 0 ? std::clamp(reward, -most, most) : reward;
}

std::vector<float> reward_model::scores(const process_group& group, const column_set& columns) const {
  if (!tokenizer_) {
    std::vector<std::vector<std::int32_t>> answers;
    for (const auto answer : by_answer(columns.view<std::int32_t>("tokens"), columns.view<std::int32_t>("lengths")))
      answers.emplace_back(answer.begin(), answer.end());
    return model::answer_scores(scorer_, columns.view<std::int32_t>("prompt_tokens"), answers, table_.tokens_at_once);
  }
  std::vector<float> scores;
  const std::vector<std::vector<std::int32_t>> nothing(1);
  for (const auto& text : conversations(group, columns, *tokenizer_, *chat_))
    scores.push_back(model::answer_scores(scorer_, text, nothing, table_.tokens_at_once).at(0));
  return scores;
}

void reward_model::process(const process_group& group, column_set columns, std::function<void(stage_result)> done) {
  thread_.post([this, group, columns = std::move(columns), done = std::move(done)] {
    stage_result result;
    try {
      if (at::get_num_threads() != threads_)
        at::set_num_threads(threads_);
      auto reward = scores(group, columns);
      for (float& one : reward)
        one = reward_of(table_, one);
      const double mean = reward.empty() ? 0 : std::accumulate(reward.begin(), reward.end(), 0.0) / static_cast<double>(reward.size());
      transport::bundle_builder added;
      for (const auto& column : table_.adds()) {
        added.add(column, std::span<const float>(reward));
        result.summary[column] = mean;
      }
      result.added = added.add_all(origin_of("reward." + table_.name, {0, static_cast<std::uint32_t>(threads_)})).finish();
    } catch (const std::invalid_argument& unfit) {
      result.complaint = unfit.what(); // such as a text beyond the model's context: another attempt would end the same
    } catch (const std::exception& error) {
      result.error = error.what();
    }
    done(std::move(result));
  });
}

} // namespace millrace::actors
