#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace millrace::run_files {

inline constexpr std::string_view manifest_name = "manifest.json";

/// XXH3 (128 bit) of a file's bytes, as 32 hexadecimal digits. @throws storage_error
std::string hash_of_file(const std::filesystem::path& path);

/// The manifest of the files now under `folder`: format, step, and for each file its name, size and XXH3 (128 bit)
/// hash. It ends in a hash of its own text. @throws storage_error if a file cannot be read, or has no
/// bytes: no file of a checkpoint is empty
std::string make_manifest(const std::filesystem::path& folder, std::int64_t step);

/// How closely a checkpoint is looked at.
enum class depth {
  sizes,    ///< the manifest is whole, every file is there with its size
  contents, ///< and every byte hashes to what the manifest says
};

/// What is wrong with the checkpoint in `folder`, in a line; nothing if it verifies. `folder` must be named after its
/// step, as in the manifest.
std::optional<std::string> checkpoint_damage(const std::filesystem::path& folder, depth how);

} // namespace millrace::run_files
