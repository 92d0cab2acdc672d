#include "runtime/roles/policy_role.hpp"

#include "runtime/columns/column_builder.hpp"
#include "runtime/roles/fetch_for_training.hpp"
#include "runtime/roles/learner_options.hpp"
#include "runtime/roles/rank_seat.hpp"
#include "runtime/roles/role_kinds.hpp"

#include <string>
#include <utility>

namespace millrace::roles {
namespace {

std::string in_words(const train_batch& batch) {
  const bool whole = batch.part == 0 && batch.ends_step;
  return "step " + std::to_string(batch.step) + (whole ? "" : ", part " + std::to_string(batch.part + 1));
}

} // namespace

policy_role::policy_role(const role_setup& setup, std::shared_ptr<collective::membership> ranks)
    : setup_(setup), ranks_(std::move(ranks)),
      core_(std::make_shared<policy_core>(*setup.pipeline, setup.checkpoint, setup.threads(), setup.seat(ranks_))),
      versions_(setup.data, versions_kept(*setup.pipeline), publishes_deltas(*setup.pipeline),
                taken_here(*setup.pipeline) ? transport::checksums::left_out : transport::checksums::computed) {
}

policy_role::~policy_role() {
  stop_.request_stop();
  if (ranks_)
    ranks_->close();
}

void policy_role::fetch(const fetch_group& ask, answer_to<group_fetched> done) {
  fetch_for_training(setup_, ask, core_, std::move(done));
}

void policy_role::train(const train_batch& ask, answer_to<batch_report> done) {
  stop_ = {};
  answer_from<batch_report>(
      thread_, {.track = setup_.who.name(), .what = "train " + in_words(ask), .cause = telemetry::cause::compute},
      std::move(done), [this, ask, stop = stop_.get_token()] {
        auto report = core_->train(ask, stop);
        if (publishes_deltas(*setup_.pipeline) || !adapter_base(*setup_.pipeline).empty())
          report.metrics["weights/published_share"] = versions_.published_share();
        if (const auto returns = core_->take_returns(); !returns.empty())
          report.returns = setup_.data->publish(columns::column_builder().add(column::returns, returns).finish());
        return report;
      });
}

void policy_role::publish(const publish_weights& ask, answer_to<weights_published> done) {
  answer_from<weights_published>(thread_,
                                 {.track = setup_.who.name(),
                                  .what = "publish version " + std::to_string(ask.version),
                                  .cause = telemetry::cause::transfer},
                                 std::move(done), [this, ask] {
                                   const double start = telemetry::now_s();
                                   versions_.make_room();
                                   return weights_published{.version = ask.version,
                                                            .parameters = core_->publish(ask.version, versions_),
                                                            .copy_s = telemetry::now_s() - start};
                                 });
}

void policy_role::write(const write_checkpoint& ask, answer_to<checkpoint_written> done) {
  write_state_beside(thread_, storage_, setup_.who, ask, std::move(done), core_);
}

namespace {

/// Keeps groups for the first rank.
class keeping_rank final : public group_keeper {
public:
  keeping_rank(role_setup setup, std::shared_ptr<policy_core> core)
      : setup_(std::move(setup)), core_(std::move(core)) {}

  void fetch(const fetch_group& ask, answer_to<group_fetched> done) override {
    fetch_for_training(setup_, ask, core_, std::move(done));
  }

  void forget(const forget_group& ask) override { core_->forget(ask.group); }

private:
  role_setup setup_;
  std::shared_ptr<policy_core> core_;
};

} // namespace

role_abilities made(const role_setup& setup, const pipeline::policy_table&) {
  const auto ranks = setup.membership();
  if (ranks && setup.who.index > 0) {
    auto core = std::make_shared<policy_core>(*setup.pipeline, setup.checkpoint, setup.threads(), setup.seat(ranks));
    core->do_errands(std::make_shared<published_versions>(setup.data, versions_kept(*setup.pipeline)));
    return {.keeps_groups = ranks_share_groups(*setup.pipeline) ? std::make_shared<keeping_rank>(setup, core) : nullptr,
            .joins_ranks = std::make_shared<following_rank<policy_core>>(setup, ranks, std::move(core))};
  }
  const auto role = std::make_shared<policy_role>(setup, ranks);
  return {.trains = role,
          .gives_weights = role,
          .keeps_state = role,
          .joins_ranks = ranks ? std::make_shared<rank_seat>(ranks) : nullptr};
}

} // namespace millrace::roles
