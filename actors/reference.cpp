#include "actors/reference.hpp"

#include "runtime/model/answer_logprobs.hpp"

namespace millrace::actors {

void reference::process(const process_group&, column_set columns, std::function<void(stage_result)> done) {
  thread_.post([this, columns = std::move(columns), done = std::move(done)] {
    stage_result result;
    try {
      std::vector<std::vector<std::int32_t>> answers;
      for (const auto answer : by_answer(columns.view<std::int32_t>("tokens"), columns.view<std::int32_t>("lengths")))
        answers.emplace_back(answer.begin(), answer.end());
      const auto logprob = model::answer_logprobs(*frozen_, columns.view<std::int32_t>("prompt_tokens"), answers,
                                                  temperature_, threads_);
      result.added = transport::bundle_builder().add("ref_logprob", std::span<const float>(logprob)).finish();
    } catch (const std::exception& error) {
      result.error = error.what();
    }
    done(std::move(result));
  });
}

} // namespace millrace::actors
