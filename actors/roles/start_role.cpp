#include "actors/roles/start_role.hpp"

#include "actors/roles/role_actor.hpp"
#include "runtime/roles/role_kinds.hpp"
#include "runtime/words/milliseconds.hpp"

#include <exception>
#include <utility>

namespace millrace::actors {
namespace {

/// What the role says by itself goes to the coordinator.
roles::role_events events_for(const role_instance& who, const handle<decides>& coordinator) {
  roles::role_events events;
  events.generated = [coordinator](group_generated what) { tell(coordinator, std::move(what)); };
  events.interrupted = [coordinator](group_interrupted what) { tell(coordinator, std::move(what)); };
  events.lost = [coordinator](generation_lost what) { tell(coordinator, std::move(what)); };
  events.progress = [coordinator](evaluation_progress what) { tell(coordinator, std::move(what)); };
  events.word = [coordinator](rank_word what) { tell(coordinator, std::move(what)); };
  events.ranks_are_lost = [coordinator](ranks_lost what) { tell(coordinator, std::move(what)); };
  events.failed = [coordinator, who](std::string why) {
    tell(coordinator, role_failed{.who = who, .why = std::move(why)});
  };
  return events;
}

} // namespace

std::shared_ptr<roles::outward> start_role(const starter& start, const role_order& order,
                                           const handle<decides>& coordinator) {
  try {
    const auto seconds = order.pipeline->run.request_deadline_s;
    const role_place place{
        .who = order.who, .node = order.node, .data = order.data, .deadline = milliseconds_of(seconds)};
    const auto abilities = roles::make_role({.pipeline = order.pipeline,
                                             .who = order.who,
                                             .data = order.data,
                                             .checkpoint = order.checkpoint,
                                             .events = events_for(order.who, coordinator)});
    const auto where = start(order.who.role, role_actor(place, abilities));
    tell(coordinator, ready_message(place, abilities, where));
    return abilities.serves_clients;
  } catch (const std::exception& error) {
    tell(coordinator, role_failed{.who = order.who, .why = error.what(), .at_start = true});
    return nullptr;
  }
}

} // namespace millrace::actors
