#include "runtime/cluster/host_list.hpp"

#include "runtime/formats/quoted.hpp"
#include "runtime/words/input_error.hpp"

#include <algorithm>
#include <charconv>
#include <cstdint>

namespace millrace::cluster {
namespace {

constexpr std::size_t most_hosts = 65536, longest_name = 255;

/// Reads one list, and says what is wrong with it.
class host_list_reader {
public:
  explicit host_list_reader(std::string_view list) : list_(list) {}

  std::vector<std::string> read() const {
    std::vector<std::string> hosts;
    for (const auto name : parts(list_))
      append(hosts, expanded(name));
    return hosts;
  }

private:
  [[noreturn]] void wrong(const std::string& why) const {
    throw input_error("list of hosts " + formats::in_quotes(list_) + ": " + why);
  }

  /// Splits at the commas outside of brackets.
  std::vector<std::string_view> parts(std::string_view text) const {
    std::vector<std::string_view> found;
    bool inside = false;
    std::size_t begin = 0;
    for (std::size_t i = 0; i <= text.size(); ++i) {
      const char c = i < text.size() ? text[i] : ',';
      if (c == '[' || c == ']') {
        if ((c == '[') == inside)
          wrong("found a bracket without its other half");
        inside = !inside;
      } else if (c == ',' && (!inside || i == text.size())) {
        if (inside)
          wrong("found a bracket without its other half");
        if (i == begin)
          wrong("found no name between two commas, want names such as gpu[1-3],gpu7");
        found.push_back(text.substr(begin, i - begin));
        begin = i + 1;
      }
    }
    return found;
  }

  std::vector<std::string> expanded(std::string_view name) const {
    std::vector<std::string> hosts{""};
    while (!name.empty()) {
      const auto open = std::min(name.find('['), name.size());
      if (hosts.front().size() + open > longest_name)
        wrong("found a name of more than 255 characters");
      for (auto& host : hosts)
        host += name.substr(0, open);
      if (open == name.size())
        break;
      const auto close = name.find(']', open);
      const auto numbers = expanded_numbers(name.substr(open + 1, close - open - 1));
      name.remove_prefix(close + 1);
      if (hosts.size() * numbers.size() > most_hosts)
        wrong("found more than 65536 hosts");
      std::vector<std::string> longer;
      for (const auto& host : hosts)
        for (const auto& number : numbers)
          longer.push_back(host + number);
      hosts = std::move(longer);
    }
    return hosts;
  }

  std::vector<std::string> expanded_numbers(std::string_view ranges) const {
    std::vector<std::string> numbers;
    for (const auto range : parts(ranges)) {
      const auto dash = std::min(range.find('-'), range.size());
      const auto first = range.substr(0, dash), last = dash == range.size() ? first : range.substr(dash + 1);
      append(numbers, counted(range, number_in(range, first), number_in(range, last), first.size()));
    }
    return numbers;
  }

  std::uint64_t number_in(std::string_view range, std::string_view digits) const {
    std::uint64_t number = 0;
    const auto* end = digits.data() + digits.size();
    const auto [stop, error] = std::from_chars(digits.data(), end, number);
    if (error != std::errc() || stop != end || digits.size() > 18)
      wrong("found " + formats::in_quotes(range) + " in brackets, want numbers and ranges such as 1-3");
    return number;
  }

  std::vector<std::string> counted(std::string_view range, std::uint64_t first, std::uint64_t last,
                                   std::size_t width) const {
    if (last < first || last - first >= most_hosts)
      wrong("found the range " + formats::in_quotes(range) + ", want it to count up, to 65536 hosts at most");
    std::vector<std::string> numbers;
    for (auto i = first; i <= last; ++i) {
      const auto digits = std::to_string(i);
      numbers.push_back(std::string(width > digits.size() ? width - digits.size() : 0, '0') + digits);
    }
    return numbers;
  }

  void append(std::vector<std::string>& to, const std::vector<std::string>& more) const {
    if (to.size() + more.size() > most_hosts)
      wrong("found more than 65536 hosts");
    to.insert(to.end(), more.begin(), more.end());
  }

  std::string_view list_;
};

} // namespace

std::vector<std::string> hosts_in(std::string_view list) {
  return host_list_reader(list).read();
}

} // namespace millrace::cluster
