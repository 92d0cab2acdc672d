#include "runtime/collective/connect_ranks.hpp"

#include "runtime/collective/abort_line.hpp"
#include "runtime/collective/device_group.hpp"
#include "runtime/collective/parcel.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace millrace::collective {
namespace {

/// A text as a tensor of bytes.
at::Tensor bytes_of(const std::string& text) {
  at::Tensor bytes = at::empty({static_cast<std::int64_t>(text.size())}, at::kByte);
  std::ranges::copy(text, static_cast<char*>(bytes.data_ptr()));
  return bytes;
}

std::string text_in(const at::Tensor& bytes) {
  const auto here = bytes.contiguous();
  return {static_cast<const char*>(here.const_data_ptr()), here.nbytes()};
}

/// What each rank says of itself, by rank.
std::vector<device_facts> facts_of_all(group& ranks, const device_facts& own) {
  const parcel mine{
      .words = {}, .numbers = {}, .tensors = {bytes_of(own.device), bytes_of(own.gpu), bytes_of(own.library)}};
  const auto others = hand_around(ranks, std::vector<parcel>(static_cast<std::size_t>(ranks.size()), mine));
  std::vector<device_facts> all;
  for (std::size_t rank = 0; rank < others.size(); ++rank) {
    const auto& said = others[rank].tensors;
    if (std::cmp_equal(rank, ranks.rank()))
      all.push_back(own);
    else if (said.size() != mine.tensors.size())
      throw lost("rank " + std::to_string(rank) + " did not say where it computes");
    else
      all.push_back({.device = text_in(said[0]), .gpu = text_in(said[1]), .library = text_in(said[2])});
  }
  return all;
}

} // namespace

connected_ranks connect_ranks(const gloo_options& options, rank_wire wire, const device_port* port,
                              const std::shared_ptr<rendezvous>& words) {
  auto host = connect_gloo(options, words);
  if (options.size == 1 || wire == rank_wire::gloo)
    return {std::move(host), "Gloo"};
  std::vector<device_facts> facts;
  {
    const abort_line line(*words, *host);
    facts =
        facts_of_all(*host, port != nullptr ? port->facts() : device_facts{.device = "cpu", .gpu = "", .library = ""});
  }
  if (const auto why = why_not_direct(facts); !why.empty()) {
    if (wire == rank_wire::nccl)
      throw std::runtime_error("collective: found \"nccl\", but " + why
                               + "; want \"auto\", \"gloo\" or a GPU for each rank");
    return {std::move(host), "Gloo: " + why};
  }
  auto direct = std::make_unique<device_group>(std::move(host), options.exchange_deadline);
  const abort_line line(*words, *direct);
  direct->connect(*port, options.connect_deadline);
  return {std::move(direct), facts.front().library};
}

} // namespace millrace::collective
