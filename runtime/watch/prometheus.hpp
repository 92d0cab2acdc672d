#pragma once

#include "runtime/watch/memory.hpp"
#include "runtime/watch/run_reader.hpp"

#include <string>
#include <vector>

namespace millrace::watch {

/// The text of /metrics in Prometheus' exposition format 0.0.4
/// (https://prometheus.io/docs/instrumenting/exposition_formats/). Units are base units: seconds, bytes, tokens.
/// @param gpus of this host
std::string prometheus_text(const run_view& run, const std::vector<gpu_use>& gpus);

} // namespace millrace::watch
