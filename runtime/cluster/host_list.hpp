#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace millrace::cluster {

/// The names of a list of hosts as Slurm writes it, "a,gpu[1-3,08],r[0-1]n[2,1]", in the order in which they stand
/// there: ranges count up, leading zeros stay, of several brackets the last one counts first.
/// @throws input_error in one line for an empty list or name, a bracket without its other half, a range that is none,
/// for a name of more than 255 characters, and for more than 65,536 hosts
std::vector<std::string> hosts_in(std::string_view list);

} // namespace millrace::cluster
