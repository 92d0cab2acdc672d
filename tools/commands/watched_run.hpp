#pragma once

#include "runtime/pipeline/stages.hpp"
#include "runtime/watch/server.hpp"

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace millrace::tools {

/// `--listen` as an override of `run.listen`; "" leaves it to the file.
std::vector<std::string> with_listen(std::vector<std::string> overrides, const std::string& listen);

/// Takes the port of `run.listen`; nothing where it is empty. @throws input_error if the port cannot be had
std::unique_ptr<watch::server> listening_for(const std::vector<pipeline::stage>& stages);

/// Shows the run in `folder`, of several stages the one under way, and says where.
void watch_run(watch::server& server, const std::filesystem::path& folder, const std::vector<pipeline::stage>& stages);

} // namespace millrace::tools
