#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace millrace::schedule {

/// Goes over counts that stand by number, `first` the number of the first of them: gives `Value{number, count}`,
/// ascending, and leaves out those that are empty.
template <class Value, class Count>
class filled_iterator {
public:
  using value_type = Value;

  filled_iterator(const std::vector<Count>& all, std::uint32_t first, std::size_t at)
      : all_(&all), first_(first), at_(at) {
    skip();
  }

  Value operator*() const { return {first_ + static_cast<std::uint32_t>(at_), (*all_)[at_]}; }

  filled_iterator& operator++() {
    ++at_;
    skip();
    return *this;
  }

  bool operator==(const filled_iterator& other) const { return at_ == other.at_; }

private:
  void skip() {
    while (at_ < all_->size() && (*all_)[at_] == Count{})
      ++at_;
  }

  const std::vector<Count>* all_;
  std::uint32_t first_;
  std::size_t at_;
};

} // namespace millrace::schedule
