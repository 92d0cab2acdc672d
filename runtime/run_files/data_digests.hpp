#pragma once

#include "runtime/run_files/run_folder.hpp"

#include <filesystem>
#include <map>
#include <string>

namespace millrace::run_files {

/// The data files of a run by the name of the role that reads each.
using data_files = std::map<std::string, std::filesystem::path>;

/// What a run does about a data file that is another one than before.
enum class changed_data { refused, accepted };

/// Holds a run to its data: `data.json` in its folder has the bytes and the hash (XXH3-128) of each file. The first
/// session writes it. A later one compares the files with it; one that accepts changes writes it anew. A role's file
/// that the first session did not have is added. Reads every byte of every file.
/// @throws input_error one line that names the changed files and the way to accept them; or a file cannot be read
/// @throws storage_error
void hold_data(const run_folder& folder, const data_files& files, changed_data changed);

/// For a run that is only looked at: compares and writes nothing. A file that came into a role's folder, or went from
/// it, is a difference too. Digests that are not there say nothing.
/// @param digests `data.json` of the run's folder
/// @throws input_error one line that names the changed files; or a file cannot be read
void want_same_data(const std::filesystem::path& digests, const data_files& files);

} // namespace millrace::run_files
