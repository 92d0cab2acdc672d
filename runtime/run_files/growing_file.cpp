#include "runtime/run_files/growing_file.hpp"

namespace millrace::run_files {

growing_file::growing_file(std::filesystem::path path) : path_{std::move(path)}, file_{open_to_append(path_)} {
}

void growing_file::append(std::string_view record) {
  if (!waiting_.empty() && waiting_.size() + record.size() > most_waiting)
    throw storage_error(path_.string() + ": " + in_bytes(waiting_.size()) + " wait for the disk, a record is lost");
  waiting_ += record;
  write_waiting();
}

void growing_file::write_waiting() {
  if (waiting_.empty())
    return;
  append_whole(file_, waiting_, path_);
  waiting_.clear();
}

} // namespace millrace::run_files
