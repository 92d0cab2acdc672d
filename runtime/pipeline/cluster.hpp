#pragma once

#include "runtime/pipeline/cluster_table.hpp"
#include "runtime/schedule/config.hpp"
#include "runtime/schedule/workload.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace millrace::pipeline {

/// Clusters that are built in.
std::vector<std::string> cluster_names();

/// One of them as a file, each figure with its source beside it. @throws input_error for another name
std::string_view cluster_text(std::string_view name);

/// A built-in cluster, or a file.
/// @throws pipeline_errors with every mistake of the file; input_error if it is neither
cluster_table read_cluster(const std::string& name_or_file);

/// The workload of a pipeline (`workload_of`) on a cluster: engines, and all costs.
/// @param place under `timeshare` the same GPUs generate and train in turn: all of them do both
schedule::workload on_cluster(schedule::workload shape, const cluster_table& cluster, schedule::place_mode place);

} // namespace millrace::pipeline
