#include "runtime/roles/critic_role.hpp"

#include "runtime/roles/fetch_for_training.hpp"
#include "runtime/roles/rank_seat.hpp"
#include "runtime/roles/role_kinds.hpp"
#include "runtime/train/learner.hpp"

#include <future>
#include <stdexcept>
#include <utility>

namespace millrace::roles {

critic_role::critic_role(const role_setup& setup, const pipeline::critic_table& table,
                         std::shared_ptr<collective::membership> ranks)
    : setup_(setup), ranks_(std::move(ranks)),
      core_(std::make_shared<critic_core>(*setup.pipeline, table, setup.checkpoint, setup.threads(),
                                          setup.seat(ranks_))) {
}

critic_role::~critic_role() {
  stop_.request_stop();
  if (ranks_)
    ranks_->close();
}

void critic_role::add(const process_group&, columns::column_set columns, answer_to<added_columns> done) {
  thread_.post([this, columns = std::move(columns), done = std::move(done)] {
    answer_now<added_columns>(done, [&] { return added_columns{.columns = core_->value_columns(columns)}; });
  });
}

void critic_role::fetch(const fetch_group& ask, answer_to<group_fetched> done) {
  fetch_for_training(setup_, ask, core_, std::move(done));
}

void critic_role::train(const train_batch& ask, answer_to<batch_report> done) {
  stop_ = {};
  const auto returns = std::make_shared<std::promise<columns::column_set>>();
  if (ask.returns.id == 0)
    returns->set_value({});
  else
    columns::pull_columns(*setup_.data, std::span(&ask.returns, 1), {.required = column::names(column::returns)},
                          setup_.deadline(), [returns](columns::column_set columns, const std::string& error) {
                            if (error.empty())
                              returns->set_value(std::move(columns));
                            else
                              returns->set_exception(std::make_exception_ptr(
                                  std::runtime_error("the policy's targets cannot be fetched: " + error)));
                          });
  answer_from<batch_report>(
      thread_,
      {.track = setup_.who.name(),
       .what = "train step " + std::to_string(ask.step),
       .cause = telemetry::cause::compute},
      std::move(done), [this, ask, returns, stop = stop_.get_token()] {
        const auto columns = returns->get_future().get(); // within the pull's deadline
        return core_->train(ask, stop, ask.returns.id == 0 ? std::span<const float>() : columns.view(column::returns));
      });
}

bool critic_role::needs_returns() const {
  return train::makes_returns(std::get<pipeline::policy_table>(setup_.pipeline->policy().options).algorithm);
}

void critic_role::end_step(const millrace::end_step& how) {
  thread_.post([this, how] {
    try {
      core_->end_step(how);
    } catch (const std::exception& failure) { // a rank is lost, and with it a part of the critic's state
      setup_.events.failed(failure.what());
    }
  });
}

void critic_role::write(const write_checkpoint& ask, answer_to<checkpoint_written> done) {
  write_state_beside(thread_, storage_, setup_.who, ask, std::move(done), core_);
}

role_abilities made(const role_setup& setup, const pipeline::critic_table& table) {
  const auto ranks = setup.membership();
  if (ranks && setup.who.index > 0)
    return {.joins_ranks = std::make_shared<following_rank<critic_core>>(
                setup, ranks,
                std::make_shared<critic_core>(*setup.pipeline, table, setup.checkpoint, setup.threads(),
                                              setup.seat(ranks)))};
  const auto role = std::make_shared<critic_role>(setup, table, ranks);
  return {.adds_columns = role,
          .trains = role,
          .keeps_state = role,
          .joins_ranks = ranks ? std::make_shared<rank_seat>(ranks) : nullptr};
}

} // namespace millrace::roles
