#pragma once

#include "actors/column_set.hpp"
#include "actors/continuation.hpp"
#include "actors/errors.hpp"
#include "actors/learning.hpp"
#include "actors/role_context.hpp"

#include <caf/actor_cast.hpp>
#include <caf/result.hpp>

#include <memory>

namespace millrace::actors {

/// Pulls a group's columns into this process and has `learner` keep them for training.
/// @tparam Shell the actor's own handle type, which takes `continuation`
template <class Shell, class Pointer, class Learner>
caf::result<group_fetched> fetch_for_training(Pointer self, const role_context& context, const fetch_group& ask,
                                              std::shared_ptr<Learner> learner) {
  auto promise = self->template make_response_promise<group_fetched>();
  const auto me = caf::actor_cast<Shell>(self);
  pull_columns(*context.data, ask.columns, {}, context.deadline(),
               [me, promise, ask, learner, p = context.pipeline](const column_set& columns, std::string error) {
                 bool flat = false;
                 try {
                   if (error.empty()) {
                     const auto& policy = std::get<pipeline::policy_table>(p->policy().options);
                     auto group = training_group_of(ask.group, columns, policy.mask_truncated, policy.rewards);
                     group.domain = ask.domain;
                     flat = is_flat(group);
                     learner->keep(std::move(group));
                   }
                 } catch (const std::exception& failure) {
                   error = failure.what();
                 }
                 continue_in(me, [promise, ask, flat, error]() mutable {
                   if (error.empty())
                     promise.deliver(group_fetched{ask.group, ask.attempt, flat});
                   else
                     promise.deliver(error_with(std::move(error)));
                 });
               });
  return promise;
}

} // namespace millrace::actors
