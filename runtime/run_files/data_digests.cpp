#include "runtime/run_files/data_digests.hpp"

#include "runtime/formats/strict_json.hpp"
#include "runtime/run_files/manifest.hpp"
#include "runtime/words/input_error.hpp"

#include <nlohmann/json.hpp>

#include <set>

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

/// Why `now` is not the file that `before` tells of, or "".
std::string difference(const std::string& role, const json& before, const json& now) {
  if (!before.is_object() || before.value("xxh3", "") == now.at("xxh3"))
    return {};
  return now.at("file").get<std::string>() + " (role " + role + ") is not the file of the run's start: found "
         + now.at("bytes").dump() + " bytes, hash " + now.at("xxh3").get<std::string>() + ", want "
         + before.value("bytes", json()).dump() + " bytes, hash " + before.value("xxh3", "");
}

void add_to(std::string& list, const std::string& what) {
  if (!what.empty())
    list += (list.empty() ? "" : "; ") + what;
}

std::string role_of(const std::string& name) {
  return name.substr(0, name.find('/'));
}

} // namespace

void hold_data(const run_folder& folder, const data_files& files, changed_data changed) {
  const auto path = folder.data();
  const json held = changed == changed_data::accepted ? json::object() : held_in(path);
  json now = held;
  std::string others;
  for (const auto& [role, file] : files) {
    const json digest = digest_of(file);
    add_to(others, difference(role, held.value(role, json()), digest));
    now[role] = digest;
  }
  if (!others.empty())
    throw input_error(others + "; put it back, or go on with the new one: `millrace resume " + folder.path().string()
                      + " --accept-data`");
  if (now != held)
    replace_file(path, now.dump(1) + "\n", survives::power_cut);
}

void want_same_data(const fs::path& digests, const data_files& files) {
  const json held = held_in(digests);
  if (held.empty())
    return; // of a run that wrote none
  std::string others;
  std::set<std::string> roles, known;
  for (const auto& [name, file] : files) {
    roles.insert(role_of(name));
    known.insert(name);
    const json before = held.value(name, json());
    add_to(others, before.is_object()
                       ? difference(name, before, digest_of(file))
                       : file.string() + " (role " + name + ") is not among the files of the run's start");
  }
  for (const auto& [name, before] : held.items())
    if (before.is_object() && !known.contains(name) && roles.contains(role_of(name)))
      add_to(others, before.value("file", "") + " (role " + name + ") was among the files of the run's start");
  if (!others.empty())
    throw input_error(others + "; put it back: what a run did is made again from the data that it read");
}

} // namespace millrace::run_files
