#pragma once

#include <cstdint>

namespace millrace {

/// A group, by its place in the order of admission, from 0. It answers the prompt of the same index.
using group_id = std::uint64_t;

/// Which start of a group: answers to an earlier one are void.
using attempt_number = std::uint32_t;

/// Weights, by the number of steps trained into them. 0: those that the run started with.
using version_id = std::uint32_t;

/// A process of the run, as its data plane is called. 1 is the run's own.
using node_id = std::uint64_t;

} // namespace millrace
