#include "runtime/data/mixture.hpp"

#include "runtime/words/input_error.hpp"

namespace millrace::data {

mixture::mixture(std::vector<mixture_part> parts) : parts_(std::move(parts)) {
  for (const auto& part : parts_)
    shares_.push_back({.weight = whole_weight(part.weight)});
}

std::optional<mixed_row> mixture::next() {
  for (;;) {
    const std::size_t which = whose_turn(shares_);
    if (which == parts_.size())
      return std::nullopt;
    if (auto found = parts_[which].rows->next()) {
      ++shares_[which].given;
      return mixed_row{*std::move(found), which};
    }
    shares_[which].ended = true;
    for (auto& share : shares_) // the others begin anew, with larger shares
      share.given = 0;
  }
}

std::vector<mixture_place> mixture::save() const {
  std::vector<mixture_place> places;
  for (std::size_t i = 0; i < parts_.size(); ++i)
    places.push_back({parts_[i].rows->save(), shares_[i].given, shares_[i].ended});
  return places;
}

void mixture::restore(const std::vector<mixture_place>& at) {
  if (at.size() != parts_.size())
    throw input_error("found " + std::to_string(parts_.size()) + " sources of prompts, want the "
                      + std::to_string(at.size()) + " of the saved position");
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    parts_[i].rows->restore(at[i].at);
    shares_[i].given = at[i].given;
    shares_[i].ended = at[i].ended;
  }
}

} // namespace millrace::data
