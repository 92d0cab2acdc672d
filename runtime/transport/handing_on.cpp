#include "runtime/transport/transfer_loop.hpp"

#include <algorithm>
#include <numeric>

/// How a large bundle that several nodes want goes from one to the next.
namespace millrace::transport {

// ---- as owner

bool data_plane::transfer_loop::send_elsewhere(ucp_ep_h back, const message& request) {
  const auto reader = peers_.find(request.from);
  if (reader == peers_.end() || reader->second->life != request.from_life || on_this_host(*reader->second))
    return false;
  std::erase_if(fans_, [this](const auto& fan) { return !published_.find(fan.first); });
  const auto& host = reader->second->host;
  const auto giver = fans_[request.ticket].giver_for({request.from, request.from_life},
                                                     host.empty() ? std::to_string(request.from) : host);
  if (!giver)
    return false;
  message m = answer_to(request, message_kind::elsewhere);
  m.argument = *giver;
  seal(m, options_.key);
  worker_->send(back, std::as_bytes(std::span(&m, 1)), {}, nullptr, nullptr);
  return true;
}

// ---- as reader

void data_plane::transfer_loop::on_elsewhere(const message& m) {
  const auto asked = pull_answered_by(m);
  if (!asked || asked->attempt != 0)
    return;
  pending_pull& p = *asked;
  const auto giver = peers_.find(m.argument);
  if (giver == peers_.end())
    return ask_owner(m.pull, "this node has no peer " + std::to_string(m.argument));
  ++p.attempt;
  p.giver = giver->first;
  p.life = giver->second->life;
  ask(m.pull, *giver->second, message_kind::pull);
}

void data_plane::transfer_loop::ask_owner(std::uint64_t number, const std::string& cause) {
  pending_pull& p = pulls_.at(number);
  const auto owner = peers_.find(p.wanted.owner);
  if (owner == peers_.end())
    return finish(number, pull_status::peer_lost, cause);
  ++p.attempt;
  p.giver = owner->first;
  p.life = owner->second->life;
  p.block = {}; // what is still arriving there is held until it has
  p.shared.reset();
  expect_all(p);
  ask(number, *owner->second, message_kind::copy);
}

void data_plane::transfer_loop::failed(std::uint64_t number, pull_status status, const std::string& cause) {
  const auto found = pulls_.find(number);
  if (found == pulls_.end())
    return;
  if (found->second.life != 0 && found->second.giver != found->second.wanted.owner)
    return ask_owner(number, cause);
  finish(number, status, cause);
}

bool data_plane::transfer_loop::has_neighbours(const pending_pull& p) const {
  return p.places.size() == p.wanted.layout.size() && p.where.bytes >= smallest_shared
         && std::ranges::any_of(
             peers_, [&](const auto& known) { return known.first != p.wanted.owner && on_this_host(*known.second); });
}

bool data_plane::transfer_loop::on_this_host(const peer& other) const {
  return !host_.empty() && other.host == host_;
}

// ---- as one who has it, or will

void data_plane::transfer_loop::keep(const ticket& t, const bundle& value) {
  std::erase_if(kept_, [](const auto& kept) { return kept.second.memory.expired(); });
  if (value.block() && value.bytes() >= smallest_shared)
    kept_[{t.owner, t.id}] = {t.layout, *value.block(), value.owner(), value.shared()};
}

void data_plane::transfer_loop::hand_on(ucp_ep_h back, const message& request) {
  for (auto& [number, p] : pulls_)
    if (p.wanted.owner == request.owner && p.wanted.id == request.ticket && p.life != 0
        && p.places.size() == p.wanted.layout.size()) {
      p.waiting.push_back(request);
      return;
    }
  const auto found = kept_.find({request.owner, request.ticket});
  const auto memory = found == kept_.end() ? nullptr : found->second.memory.lock();
  if (!memory)
    return refuse(back, request, refusal_reason::no_such_bundle);
  const auto shared = found->second.shared.lock();
  const auto whole = shared ? bundle::over(found->second.layout, shared)
                            : bundle::over(found->second.layout, found->second.block, memory);
  if (whole.bytes() != request.argument)
    return refuse(back, request, refusal_reason::other_size);
  std::vector<std::size_t> places(whole.columns().size());
  std::iota(places.begin(), places.end(), std::size_t{0});
  give(back, request, whole, places);
}

void data_plane::transfer_loop::refuse_waiting(const peer& of) {
  for (auto& [number, p] : pulls_)
    std::erase_if(p.waiting, [&](const message& request) {
      const bool its = request.from == of.node && request.from_life == of.life;
      if (its)
        refuse(of.endpoint, request, refusal_reason::not_authorised);
      return its;
    });
}

void data_plane::transfer_loop::hand_on_to_all(const std::vector<message>& waiting) {
  for (const auto& request : waiting)
    if (const auto reader = peers_.find(request.from);
        reader != peers_.end() && reader->second->life == request.from_life)
      hand_on(reader->second->endpoint, request);
}

} // namespace millrace::transport
