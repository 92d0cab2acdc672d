#include "runtime/roles/role_setup.hpp"

#include "runtime/telemetry/trace.hpp"
#include "runtime/telemetry/waits.hpp"
#include "runtime/words/cores.hpp"
#include "runtime/words/milliseconds.hpp"

#include <cstdint>

namespace millrace::roles {
namespace {

/// A rank that is told what to do waits for as long as there is nothing to do. Whoever leads has a deadline.
constexpr std::chrono::hours for_orders{24 * 365};

/// A group whose exchanges are waits with a name.
class named_group : public collective::group {
public:
  named_group(std::shared_ptr<collective::group> ranks, role_instance who)
      : ranks_(std::move(ranks)), who_(std::move(who)) {
    // Ranks wait for each other in every exchange. Whoever leads names the others, so that no circle is seen.
    for (int r = 1; rank() == 0 && r < size(); ++r)
      others_.push_back(role_instance{.role = who_.role, .index = static_cast<std::uint32_t>(r)}.name());
  }

  int rank() const override { return ranks_->rank(); }

  int size() const override { return ranks_->size(); }

  void exchange(std::span<const at::Tensor> outgoing, std::span<const at::Tensor> incoming) override {
    const telemetry::waiting wait(
        telemetry::process_waits(),
        {.who = who_.name(), .what = "the other ranks", .on = others_, .since_s = telemetry::now_s()});
    ranks_->exchange(outgoing, incoming);
  }

  void abort(const std::string& why) override { ranks_->abort(why); }

  std::optional<waiting> waits() const override { return ranks_->waits(); }

private:
  std::shared_ptr<collective::group> ranks_;
  role_instance who_;
  std::vector<std::string> others_;
};

/// The same of waiting for a group.
class named_source : public collective::group_source {
public:
  named_source(std::shared_ptr<collective::group_source> groups, role_instance who)
      : groups_(std::move(groups)), who_(std::move(who)) {}

  std::shared_ptr<collective::group> group_after(const collective::group* last) override {
    const telemetry::waiting wait(telemetry::process_waits(),
                                  {.who = who_.name(), .what = "all ranks to be up", .since_s = telemetry::now_s()});
    return groups_->group_after(last);
  }

private:
  std::shared_ptr<collective::group_source> groups_;
  role_instance who_;
};

} // namespace

std::chrono::milliseconds role_setup::deadline() const {
  return milliseconds_of(pipeline->run.request_deadline_s);
}

int role_setup::threads() const {
  return static_cast<int>(pipeline::threads_of(*pipeline, who.role, cores_here()));
}

std::shared_ptr<collective::membership> role_setup::membership() const {
  if (pipeline->processes_of(who.role) <= 1)
    return nullptr;
  const auto& reached = data->options();
  const bool leads = who.index == 0;
  const auto work_deadline = 10 * milliseconds_of(pipeline->run.stall_after_s);
  return std::make_shared<collective::membership>(
      collective::membership::options{
          .rank = static_cast<int>(who.index),
          .host = reached.bind.empty() ? "127.0.0.1" : reached.bind,
          .key = reached.key,
          .form_deadline = milliseconds_of(pipeline->run.join_deadline_s),
          .wait_deadline = work_deadline, // whoever starts ranks again gives up before
          .exchange_deadline = leads ? work_deadline : std::chrono::milliseconds(for_orders),
          .leads = leads,
          .dressed = [me = who](std::shared_ptr<collective::group> ranks) -> std::shared_ptr<collective::group> {
            return std::make_shared<named_group>(std::move(ranks), me);
          }},
      [events = events, me = who](std::uint32_t generation, std::string key, std::string value) {
        events.word({.from = me, .generation = generation, .key = std::move(key), .value = std::move(value)});
      },
      [events = events, me = who](std::uint32_t generation, std::string why) {
        events.ranks_are_lost({.from = me, .generation = generation, .why = std::move(why)});
      });
}

train::team_seat role_setup::seat(std::shared_ptr<collective::group_source> others) const {
  if (!others)
    return {};
  return {.place = {.rank = static_cast<int>(who.index),
                    .size = static_cast<int>(pipeline->processes_of(who.role)),
                    .shard = pipeline->placement.roles.at(who.role).shard},
          .others = std::make_shared<named_source>(std::move(others), who)};
}

} // namespace millrace::roles
