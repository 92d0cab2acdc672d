#pragma once

#include "runtime/collective/group_source.hpp"
#include "runtime/telemetry/trace.hpp"
#include "runtime/telemetry/waits.hpp"
#include "runtime/words/role_instance.hpp"

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace millrace::roles {

/// A source of groups whose waits have names: those for a group, and those of a group's exchanges.
class named_ranks : public collective::group_source {
public:
  named_ranks(std::shared_ptr<collective::group_source> groups, role_instance who)
      : groups_(std::move(groups)), who_(std::move(who)) {}

  std::shared_ptr<collective::group> group_after(std::shared_ptr<collective::group> last) override {
    const telemetry::waiting wait(telemetry::process_waits(),
                                  {.who = who_.name(), .what = "all ranks to be up", .since_s = telemetry::now_s()});
    auto ranks = last ? static_cast<const named_group&>(*last).ranks : nullptr;
    last.reset();
    auto next = groups_->group_after(std::move(ranks));
    return next ? std::make_shared<named_group>(std::move(next), who_) : nullptr;
  }

private:
  struct named_group : collective::group {
    named_group(std::shared_ptr<collective::group> given, const role_instance& who)
        : ranks(std::move(given)), name(who.name()) {
      // Ranks wait for each other in every exchange. Whoever leads names the others, so that no circle is seen.
      for (int r = 1; rank() == 0 && r < size(); ++r)
        others.push_back(role_instance{.role = who.role, .index = static_cast<std::uint32_t>(r)}.name());
    }

    int rank() const override { return ranks->rank(); }

    int size() const override { return ranks->size(); }

    at::Device device() const override { return ranks->device(); }

    void exchange(std::span<const at::Tensor> outgoing, std::span<const at::Tensor> incoming) override {
      const telemetry::waiting wait(
          telemetry::process_waits(),
          {.who = name, .what = "the other ranks", .on = others, .since_s = telemetry::now_s()});
      ranks->exchange(outgoing, incoming);
    }

    void abort(const std::string& why) override { ranks->abort(why); }

    std::optional<waiting> waits() const override { return ranks->waits(); }

    std::shared_ptr<collective::group> ranks;
    std::string name;
    std::vector<std::string> others;
  };

  std::shared_ptr<collective::group_source> groups_;
  role_instance who_;
};

} // namespace millrace::roles
