#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

namespace millrace::schedule {

/// A queue whose first entry is the least one: a heap of four children each, half as deep as one of two.
/// `Entry::operator<` is a total order, so what comes first does not depend on how it stands in the heap.
template <class Entry>
class quad_heap {
public:
  bool empty() const { return entries_.empty(); }

  std::size_t size() const { return entries_.size(); }

  const Entry& front() const { return entries_.front(); }

  /// In no order but that the first is the least and the next few are among the small ones.
  const std::vector<Entry>& all() const { return entries_; }

  void push(const Entry& entry) {
    auto at = entries_.size();
    entries_.push_back(entry);
    while (at > 0) {
      const auto above = (at - 1) / 4;
      if (!(entry < entries_[above]))
        break;
      entries_[at] = entries_[above];
      at = above;
    }
    entries_[at] = entry;
  }

  /// Takes the first entry off. @pre not empty
  void pop() {
    const auto last = entries_.back();
    entries_.pop_back();
    if (!entries_.empty())
      sink(0, last);
  }

  /// Takes off every entry that `gone` holds of.
  template <class Predicate>
  void erase_if(Predicate gone) {
    if (std::erase_if(entries_, gone) == 0 || entries_.size() < 2)
      return;
    for (auto at = (entries_.size() - 2) / 4 + 1; at-- > 0;)
      sink(at, Entry(entries_[at]));
  }

  void clear() { entries_.clear(); }

private:
  /// Puts `entry` where the hole at `at` leads to.
  void sink(std::size_t at, const Entry& entry) {
    const auto count = entries_.size();
    for (;;) {
      const auto first = 4 * at + 1;
      if (first >= count)
        break;
      auto least = first;
      for (auto child = first + 1; child < std::min(first + 4, count); ++child)
        if (entries_[child] < entries_[least])
          least = child;
      if (!(entries_[least] < entry))
        break;
      entries_[at] = entries_[least];
      at = least;
    }
    entries_[at] = entry;
  }

  std::vector<Entry> entries_;
};

} // namespace millrace::schedule
