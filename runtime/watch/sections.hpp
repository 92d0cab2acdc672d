#pragma once

#include "runtime/watch/run_reader.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::watch {

/// A part of the page as HTML. Every text that comes out of a run is escaped in it.
struct section {
  std::string id;    ///< of its element in the page
  std::string title; ///< its heading; "" for none
  std::string tools; ///< HTML between heading and element that stays as it is
  std::string html;
  std::uint64_t version = 0; ///< another one whenever `html` is another one
};

/// The page's parts, made again only where the run's records have changed.
class sections {
public:
  sections();

  void update(const run_view& run);

  const std::vector<section>& all() const { return all_; }

private:
  void put(std::string_view id, std::string html);

  std::vector<section> all_;
  std::uint64_t status_seen_ = 0, metrics_seen_ = 0, groups_seen_ = 0, failures_seen_ = 0;
};

/// The graph of roles with each role's state below it, as SVG. "" where the run's pipeline cannot be read.
std::string graph_in_svg(const run_view& run);

} // namespace millrace::watch
