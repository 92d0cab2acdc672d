#include "runtime/data/row_file.hpp"

#include "runtime/data/unpacked_file.hpp"
#include "runtime/words/input_error.hpp"

#include <glob.h>

#include <algorithm>
#include <array>

namespace millrace::data {
namespace {

namespace fs = std::filesystem;

constexpr std::array endings{".jsonl", ".jsonl.zst", ".jsonl.gz", ".parquet"};

bool is_data(const fs::path& file) {
  const std::string name = file.filename().string();
  return std::any_of(endings.begin(), endings.end(), [&](const char* ending) { return name.ends_with(ending); });
}

std::vector<fs::path> matches_of(const std::string& pattern) {
  glob_t found{};
  std::vector<fs::path> files;
  if (::glob(pattern.c_str(), 0, nullptr, &found) == 0)
    for (std::size_t i = 0; i < found.gl_pathc; ++i)
      if (std::error_code ignored; !fs::is_directory(found.gl_pathv[i], ignored))
        files.emplace_back(found.gl_pathv[i]);
  ::globfree(&found);
  return files;
}

/// Files one after another, as if they were one.
class row_files final : public row_file {
public:
  explicit row_files(std::vector<std::unique_ptr<row_file>> files) : files_(std::move(files)) {
    for (const auto& file : files_)
      starts_.push_back(starts_.back() + file->rows());
  }

  std::uint64_t rows() const override { return starts_.back(); }

  row_text read(std::uint64_t which, const upcoming& after) override {
    const auto file = file_of(which);
    return files_[file]->read(which - starts_[file], [&] {
      std::vector<std::uint64_t> own;
      for (const auto row : after())
        if (file_of(row) == file)
          own.push_back(row - starts_[file]);
      return own;
    });
  }

  std::string where(std::uint64_t which) const override {
    return files_[file_of(which)]->where(which - starts_[file_of(which)]);
  }

private:
  std::size_t file_of(std::uint64_t which) const {
    return static_cast<std::size_t>(std::upper_bound(starts_.begin(), starts_.end(), which) - starts_.begin()) - 1;
  }

  std::vector<std::unique_ptr<row_file>> files_;
  std::vector<std::uint64_t> starts_{0}; ///< the first row of each file, and how many there are
};

std::unique_ptr<row_file> open_one(const fs::path& file, const python_settings& python) {
  const auto ending = file.extension();
  if (ending == ".parquet")
    return open_parquet(file, python);
  if (ending == ".zst" || ending == ".gz") {
    const unpacked_file contents(file);
    return open_jsonl(contents.path(), file.string());
  }
  return open_jsonl(file, file.string());
}

} // namespace

std::vector<fs::path> files_of(const fs::path& path) {
  std::error_code ignored;
  std::vector<fs::path> files;
  if (fs::is_directory(path, ignored)) {
    for (const auto& entry : fs::directory_iterator(path))
      if (is_data(entry.path()) && !entry.is_directory())
        files.push_back(entry.path());
    std::sort(files.begin(), files.end());
    if (files.empty())
      throw input_error(path.string()
                        + ": found no file of rows in the folder, want .jsonl, .jsonl.zst, .jsonl.gz or "
                          ".parquet");
  } else if (!fs::exists(path, ignored) && path.string().find_first_of("*?[") != std::string::npos) {
    files = matches_of(path.string());
    if (files.empty())
      throw input_error(path.string() + ": found no file that matches, want at least one");
  } else {
    files = {path};
  }
  return files;
}

std::unique_ptr<row_file> open_rows(const fs::path& path, const python_settings& python) {
  std::vector<std::unique_ptr<row_file>> files;
  for (const auto& file : files_of(path))
    files.push_back(open_one(file, python));
  return files.size() == 1 ? std::move(files.front()) : std::make_unique<row_files>(std::move(files));
}

} // namespace millrace::data
