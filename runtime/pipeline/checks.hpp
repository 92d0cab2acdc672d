#pragma once

#include "runtime/pipeline/pipeline.hpp"
#include "runtime/pipeline/reader.hpp"

#include <string>
#include <vector>

namespace millrace::pipeline {

/// Every check that needs more than one key: names, paths on disk, the graph. Sorts `p.roles` so that a role stands
/// after those it reads from, and fills what each reads and adds.
/// @param whole every role was read: the graph can be checked
void check(pipeline& p, reading& into, bool whole);

/// The graph: names in `from`, cycles, columns.
void check_graph(pipeline& p, reading& into);

/// Where roles run: devices, processes, hosts, ports, what ranks share out.
void check_placement(const pipeline& p, reading& into);

/// Where a narrower precision means nothing or cannot be.
void check_precision(const pipeline& p, reading& into);

/// The roles above `name`, without itself, each once, in the order of `p.roles`.
std::vector<const role*> upstream_of(const pipeline& p, const std::string& name);

/// The kinds of role that add `column` when asked for nothing special.
std::vector<std::string> kinds_that_add(const std::string& column);

} // namespace millrace::pipeline
