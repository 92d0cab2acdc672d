#include "runtime/run_files/data_digests.hpp"

#include "runtime/formats/strict_json.hpp"
#include "runtime/run_files/manifest.hpp"
#include "runtime/words/input_error.hpp"

#include <nlohmann/json.hpp>

namespace millrace::run_files {
namespace {

namespace fs = std::filesystem;
using json = nlohmann::ordered_json;

json digest_of(const fs::path& file) {
  try {
    return {{"file", file.string()}, {"bytes", fs::file_size(file)}, {"xxh3", hash_of_file(file)}};
  } catch (const fs::filesystem_error& error) {
    throw input_error(file.string() + ": cannot be read: " + error.code().message());
  } catch (const storage_error& error) {
    throw input_error(error.what());
  }
}

json held_in(const fs::path& path) {
  if (!fs::exists(path))
    return json::object();
  auto held = formats::json_or_discarded<json>(read_file(path));
  if (!held.is_object())
    throw input_error(path.string()
                      + ": damaged, want the digests of the run's data files; remove it to go on with "
                        "the files as they are now");
  return held;
}

} // namespace

void hold_data(const run_folder& folder, const data_files& files, changed_data changed) {
  const auto path = folder.data();
  const json held = changed == changed_data::accepted ? json::object() : held_in(path);
  json now = held;
  std::string others;
  for (const auto& [role, file] : files) {
    const json digest = digest_of(file);
    const json before = held.value(role, json());
    if (before.is_object() && before.value("xxh3", "") != digest.at("xxh3"))
      others += (others.empty() ? "" : "; ") + file.string() + " (role " + role
                + ") is not the file of the run's start: found " + digest.at("bytes").dump() + " bytes, hash "
                + digest.at("xxh3").get<std::string>() + ", want " + before.value("bytes", json()).dump()
                + " bytes, hash " + before.value("xxh3", "");
    now[role] = digest;
  }
  if (!others.empty())
    throw input_error(others + "; put it back, or go on with the new one: `millrace resume " + folder.path().string()
                      + " --accept-data`");
  if (now != held)
    replace_file(path, now.dump(1) + "\n", survives::power_cut);
}

} // namespace millrace::run_files
