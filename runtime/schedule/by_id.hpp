#pragma once

#include "runtime/schedule/event.hpp"

#include <array>
#include <cstdint>
#include <deque>
#include <limits>
#include <utility>
#include <vector>

namespace millrace::schedule {

/// One record for each live group, found by id in constant time. Ids are given out in ascending order and leave in any
/// order; memory follows the live records, and four bytes for each id between the lowest live one and the highest.
/// References stay valid until their record is erased.
template <class Record> class by_id {
public:
  /// A record for an id that has none.
  Record& insert(group_id id) {
    if (places_.empty())
      first_ = id;
    while (id < first_) {
      places_.push_front(nowhere);
      --first_;
    }
    while (id >= first_ + places_.size())
      places_.push_back(nowhere);
    if (free_.empty()) {
      const auto begin = static_cast<std::uint32_t>(chunks_.size() * chunk);
      chunks_.emplace_back();
      for (auto place = begin + chunk; place > begin; --place)
        free_.push_back(place - 1);
    }
    const auto place = free_.back();
    free_.pop_back();
    places_[id - first_] = place;
    ++size_;
    return record(place) = Record{};
  }

  Record* find(group_id id) {
    const auto place = place_of(id);
    return place == nowhere ? nullptr : &record(place);
  }
  const Record* find(group_id id) const {
    const auto place = place_of(id);
    return place == nowhere ? nullptr : &record(place);
  }
  bool contains(group_id id) const { return place_of(id) != nowhere; }

  /// Of an id that has a record.
  Record& at(group_id id) { return record(places_[id - first_]); }
  const Record& at(group_id id) const { return record(places_[id - first_]); }

  void erase(group_id id) {
    auto& place = places_[id - first_];
    free_.push_back(std::exchange(place, nowhere));
    --size_;
    while (!places_.empty() && places_.front() == nowhere) {
      places_.pop_front();
      ++first_;
    }
  }

  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  /// The lowest id that has a record. @pre not empty
  group_id lowest() const { return first_; }
  /// Above the highest id that has had a record since the table was empty.
  group_id end() const { return first_ + places_.size(); }

  /// Calls `visit(id, record)` in ascending order; the record visited may be erased meanwhile.
  template <class Visit> void each(Visit&& visit) {
    for (auto id = first_, end = first_ + places_.size(); id < end; ++id)
      if (auto* record = find(id))
        visit(id, *record);
  }
  template <class Visit> void each(Visit&& visit) const {
    for (auto id = first_, end = first_ + places_.size(); id < end; ++id)
      if (const auto* record = find(id))
        visit(id, *record);
  }

private:
  static constexpr std::uint32_t nowhere = std::numeric_limits<std::uint32_t>::max();

  static constexpr std::uint32_t chunk = 256;

  Record& record(std::uint32_t place) { return chunks_[place / chunk][place % chunk]; }
  const Record& record(std::uint32_t place) const { return chunks_[place / chunk][place % chunk]; }

  std::uint32_t place_of(group_id id) const { return id - first_ < places_.size() && id >= first_ ? places_[id - first_] : nowhere; }

  group_id first_ = 0;
  std::deque<std::uint32_t> places_; ///< by id - first_; the front one is taken
  std::deque<std::array<Record, chunk>> chunks_;
  std::vector<std::uint32_t> free_;
  std::size_t size_ = 0;
};

} // namespace millrace::schedule
