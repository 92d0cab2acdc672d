#include "runtime/run_files/manifest.hpp"

#include "runtime/formats/strict_json.hpp"
#include "runtime/run_files/storage.hpp"

#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

namespace millrace::run_files {
namespace {

namespace fs = std::filesystem;
using json = nlohmann::ordered_json;

constexpr int format = 1;
constexpr std::uintmax_t max_manifest_bytes = 4 << 20;

std::string in_hex(XXH128_hash_t hash) {
  std::array<char, 33> text{};
  std::snprintf(text.data(), text.size(), "%016llx%016llx", static_cast<unsigned long long>(hash.high64),
                static_cast<unsigned long long>(hash.low64));
  return text.data();
}

std::string hash_of(std::string_view bytes) {
  return in_hex(XXH3_128bits(bytes.data(), bytes.size()));
}

/// The text of a manifest: its contents, then a hash of them, so that a flip of any bit shows.
std::string sealed(const json& contents) {
  auto whole = contents;
  whole["seal"] = hash_of(contents.dump(1));
  return whole.dump(1) + "\n";
}

/// The contents of a manifest; null if its text is not, byte for byte, what `sealed` would make of them.
json unsealed(const std::string& text) {
  auto contents = formats::json_or_discarded<json>(text);
  if (!contents.is_object() || !contents.contains("seal"))
    return nullptr;
  contents.erase("seal");
  return sealed(contents) == text ? contents : json(nullptr);
}

bool stays_inside(const fs::path& name) {
  return !name.empty() && name.is_relative() && std::find(name.begin(), name.end(), "..") == name.end();
}

std::optional<std::string> file_damage(const fs::path& folder, const json& entry, depth how) {
  const auto name = entry.at("name").get<std::string>();
  if (!stays_inside(name))
    return "its manifest names a file outside of it: " + name;
  std::error_code error;
  const auto bytes = fs::file_size(folder / name, error);
  if (error)
    return name + " is missing";
  if (bytes == 0)
    return name + " has no bytes";
  if (const auto want = entry.at("bytes").get<std::uintmax_t>(); bytes != want)
    return name + " has " + std::to_string(bytes) + " bytes, want " + std::to_string(want);
  if (how == depth::contents && hash_of_file(folder / name) != entry.at("xxh3").get<std::string>())
    return name + " does not match its hash";
  return std::nullopt;
}

} // namespace

std::string hash_of_file(const fs::path& path) {
  const descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state{XXH3_createState(), &XXH3_freeState};
  XXH3_128bits_reset(state.get());
  std::vector<char> part(1 << 20);
  ssize_t got = file.get() < 0 ? -1 : 0;
  while (file.get() >= 0 && (got = ::read(file.get(), part.data(), part.size())) != 0) {
    if (got > 0)
      XXH3_128bits_update(state.get(), part.data(), static_cast<std::size_t>(got));
    else if (errno != EINTR)
      break;
  }
  if (got < 0)
    throw storage_error("cannot read " + path.string() + ": " + std::strerror(errno));
  return in_hex(XXH3_128bits_digest(state.get()));
}

std::string make_manifest(const fs::path& folder, std::int64_t step) {
  std::vector<fs::path> names;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (!entry.is_directory())
      names.push_back(entry.path().lexically_relative(folder));
  std::sort(names.begin(), names.end());
  json files = json::array();
  for (const auto& name : names) {
    const auto bytes = fs::file_size(folder / name);
    if (bytes == 0)
      throw storage_error((folder / name).string() + " has no bytes: its writer failed");
    files.push_back({{"name", name.generic_string()}, {"bytes", bytes}, {"xxh3", hash_of_file(folder / name)}});
  }
  return sealed({{"format", format}, {"step", step}, {"files", std::move(files)}});
}

std::optional<std::string> checkpoint_damage(const fs::path& folder, depth how) {
  std::error_code error;
  const auto path = folder / manifest_name;
  const auto bytes = fs::file_size(path, error);
  if (error)
    return std::string{manifest_name} + " is missing";
  if (bytes > max_manifest_bytes)
    return std::string{manifest_name} + " is too large";
  try {
    const json contents = unsealed(read_file(path));
    if (contents.is_null())
      return std::string{manifest_name} + " is damaged";
    if (contents.at("format") != format)
      return "its format is " + contents.at("format").dump() + ", want " + std::to_string(format);
    const auto digits = folder.filename().string();
    if (std::stoll(digits.substr(digits.find('-') + 1)) != contents.at("step").get<std::int64_t>())
      return "its manifest is that of step " + contents.at("step").dump();
    for (const auto& entry : contents.at("files"))
      if (auto damage = file_damage(folder, entry, how))
        return damage;
    return std::nullopt;
  } catch (const json::exception&) {
    return std::string{manifest_name} + " is damaged";
  } catch (const std::logic_error&) { // stoll
    return folder.string() + " is not named after a step";
  } catch (const storage_error& failure) {
    return failure.what();
  }
}

} // namespace millrace::run_files
