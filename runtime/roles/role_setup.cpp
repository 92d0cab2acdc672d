#include "runtime/roles/role_setup.hpp"

#include "runtime/access/hmac.hpp"
#include "runtime/roles/named_ranks.hpp"
#include "runtime/roles/role_model.hpp"
#include "runtime/telemetry/log.hpp"
#include "runtime/words/cores.hpp"
#include "runtime/words/milliseconds.hpp"

#include <algorithm>
#include <cstdint>
#include <span>

namespace millrace::roles {
namespace {

/// A rank that is told what to do waits for as long as there is nothing to do. Whoever leads has a deadline.
constexpr std::chrono::hours for_orders{24 * 365};

/// One rank says it for all. That ranks of the CPU meet over Gloo is no news.
void say_how(const role_instance& who, const std::string& how) {
  if (who.index == 0 && how.find("on cpu") == how.npos)
    telemetry::log_info(who.name(), "its ranks exchange tensors over " + how);
}

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
  const auto& role = *std::ranges::find(pipeline->roles, who.role, &pipeline::role::name);
  const bool leads = who.index == 0;
  const auto work_deadline = 10 * milliseconds_of(pipeline->run.stall_after_s);
  return std::make_shared<collective::membership>(
      collective::membership::options{.rank = static_cast<int>(who.index),
                                      .host = reached.bind.empty() ? "127.0.0.1" : reached.bind,
                                      .ports = reached.ports,
                                      .key = access::hmac_sha256(reached.key, std::as_bytes(std::span(who.role))),
                                      .form_deadline = milliseconds_of(pipeline->run.join_deadline_s),
                                      .wait_deadline = work_deadline, // whoever starts ranks again gives up before
                                      .exchange_deadline =
                                          leads ? work_deadline : std::chrono::milliseconds(for_orders),
                                      .leads = leads,
                                      .wire = pipeline->placement.roles.at(who.role).collective,
                                      .port = collective::port_of(device_for(*pipeline, role)),
                                      .tell_how = [me = who](const std::string& how) { say_how(me, how); }},
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
                    .shard = pipeline->shard_of(who.role)},
          .others = std::make_shared<named_ranks>(std::move(others), who)};
}

} // namespace millrace::roles
