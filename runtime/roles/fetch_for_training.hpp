#pragma once

#include "runtime/columns/training_columns.hpp"
#include "runtime/roles/abilities.hpp"
#include "runtime/roles/role_setup.hpp"
#include "runtime/roles/thread_answer.hpp"

#include <memory>
#include <span>
#include <utility>

namespace millrace::roles {

/// Pulls the columns that training takes and has `core` keep the group.
/// @tparam Core policy_core or critic_core
template <class Core>
void fetch_for_training(const role_setup& setup, const fetch_group& ask, std::shared_ptr<Core> core,
                        answer_to<group_fetched> done) {
  columns::pull_columns(
      *setup.data, ask.columns, columns::wanted_by(setup.pipeline->policy()), setup.deadline(),
      [ask, core = std::move(core), done = std::move(done)](columns::column_set columns, std::string error) {
        if (!error.empty()) {
          done({}, std::move(error));
          return;
        }
        answer_now<group_fetched>(done, [&] {
          group_fetched fetched{.group = ask.group, .attempt = ask.attempt};
          try {
            fetched.flat = core->keep(ask.group, columns, ask.domain);
          } catch (const columns::too_few_scored& few) {
            fetched.complaint = few.what();
          }
          return fetched;
        });
      });
}

} // namespace millrace::roles
