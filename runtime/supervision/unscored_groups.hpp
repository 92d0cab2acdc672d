#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>

namespace millrace::supervision {

/// Groups that a role could not score: a rule that timed out, an expected answer that it cannot read. Such a group is
/// dropped and not trained as if its answers were wrong. This book counts them by role, and says when there are so many
/// of them that the run has no use.
class unscored_groups {
public:
  /// @param most_share of the last `window` groups that may be without scores, 0 to 1
  explicit unscored_groups(double most_share) : most_share_(most_share) {}

  void scored() { count(false); }

  /// @param role that has no score for a group  @param why its line
  void unscored(const std::string& role, const std::string& why);

  /// Why the run is to end: one line; "" = the share is within its bound, or too few groups are known.
  std::string too_many() const;

  /// By role since the last call: figures of a step, `groups/unscored` and `groups/unscored/ROLE`.
  std::map<std::string, double> take_figures();

  static constexpr std::size_t window = 64, fewest = 16;

private:
  void count(bool without);

  double most_share_;
  std::deque<bool> last_; ///< of up to `window` groups: whether each is without a score
  std::size_t without_ = 0;
  std::map<std::string, std::int64_t> by_role_; ///< since the last step
  std::string last_line_;
};

} // namespace millrace::supervision
