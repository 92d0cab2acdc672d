#pragma once

namespace millrace::cluster {

/// Lets this process open as many files and connections as the system allows it: its soft limit becomes its hard one.
/// A run has a connection to each of its processes, and the soft limit is often 1024.
void raise_descriptor_limit();

} // namespace millrace::cluster
