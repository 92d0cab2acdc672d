#pragma once

#include "runtime/words/ids.hpp"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <deque>
#include <utility>
#include <vector>

namespace millrace::schedule {

/// One record for each live group, found by id in constant time. Ids are given out in ascending order and leave in any
/// order. Records stand in pages of 64 neighbouring ids, so that what is started, cut or trained together lies
/// together; memory follows the pages that hold a live record, and 40 bytes for each page between the first and the
/// last. References stay valid until their record is erased.
template <class Record>
class by_id {
public:
  /// A record for an id that has none.
  Record& insert(group_id id) {
    const auto number = id / ids;
    if (pages_.empty())
      first_page_ = number;
    for (; number < first_page_; --first_page_)
      pages_.emplace_front();
    while (number - first_page_ >= pages_.size())
      pages_.emplace_back();
    auto& on = pages_[number - first_page_];
    if (on.records.empty()) {
      if (spare_.empty()) {
        on.records.resize(ids);
      } else {
        on.records.swap(spare_.back());
        spare_.pop_back();
      }
    }
    on.taken |= bit(id);
    end_ = size_ == 0 ? id + 1 : std::max(end_, id + 1);
    ++size_;
    return on.records[id % ids] = Record{};
  }

  Record* find(group_id id) { return const_cast<Record*>(std::as_const(*this).find(id)); }

  const Record* find(group_id id) const {
    const auto at = id / ids - first_page_; // far beyond the end for an id before the first page
    return at < pages_.size() && (pages_[at].taken & bit(id)) != 0 ? &pages_[at].records[id % ids] : nullptr;
  }

  bool contains(group_id id) const { return find(id) != nullptr; }

  /// Starts to bring the record near, if there is one: with thousands of them most of what looking at one costs is
  /// waiting for memory.
  void prefetch(group_id id) const {
    const auto* record = find(id);
    if (!record)
      return;
    __builtin_prefetch(record);
    if constexpr (alignof(Record) < 64)
      __builtin_prefetch(reinterpret_cast<const char*>(record + 1) - 1); // most stand across two cache lines
  }

  /// Of an id that has a record.
  Record& at(group_id id) { return pages_[id / ids - first_page_].records[id % ids]; }

  const Record& at(group_id id) const { return pages_[id / ids - first_page_].records[id % ids]; }

  void erase(group_id id) {
    auto& on = pages_[id / ids - first_page_];
    --size_;
    if ((on.taken &= ~bit(id)) != 0)
      return;
    spare_.push_back(std::exchange(on.records, {}));
    for (; !pages_.empty() && pages_.front().taken == 0; ++first_page_)
      pages_.pop_front();
  }

  std::size_t size() const { return size_; }

  bool empty() const { return size_ == 0; }

  /// The lowest id that has a record. @pre not empty
  group_id lowest() const { return first_page_ * ids + static_cast<group_id>(std::countr_zero(pages_.front().taken)); }

  /// Above the highest id that has had a record since the table was empty.
  group_id end() const { return end_; }

  /// Calls `visit(id, record)` in ascending order; the record visited may be erased meanwhile.
  template <class Visit>
  void each(Visit&& visit) {
    if (size_ == 0)
      return;
    for (auto id = lowest(), last = end_; id < last; ++id)
      if (auto* record = find(id))
        visit(id, *record);
  }

  template <class Visit>
  void each(Visit&& visit) const {
    if (size_ == 0)
      return;
    for (auto id = lowest(), last = end_; id < last; ++id)
      if (const auto* record = find(id))
        visit(id, *record);
  }

private:
  static constexpr group_id ids = 64; ///< of a page

  struct page {
    std::uint64_t taken = 0;     ///< a bit for each record
    std::vector<Record> records; ///< none, or `ids`
  };

  static std::uint64_t bit(group_id id) { return std::uint64_t{1} << (id % ids); }

  group_id first_page_ = 0;
  std::deque<page> pages_; ///< the first one has a record
  std::vector<std::vector<Record>> spare_;
  group_id end_ = 0;
  std::size_t size_ = 0;
};

} // namespace millrace::schedule
