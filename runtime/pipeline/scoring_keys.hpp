#pragma once

namespace millrace::pipeline {

/// What `max_failures` of every role that scores means.
inline constexpr const char* share_of_failures =
    "share of the answers of its last 64 groups that may be lost because they, or others of a group that is dropped, "
    "have no score; more end the run, and so do 64 groups in a row that are all lost, whatever the share";

} // namespace millrace::pipeline
