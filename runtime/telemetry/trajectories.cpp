#include "runtime/telemetry/trajectories.hpp"

#include "runtime/words/mix_bits.hpp"

#include <nlohmann/json.hpp>
#include <zstd.h>

#include <fstream>
#include <iterator>
#include <string_view>

namespace millrace::telemetry {
namespace {

namespace fs = std::filesystem;
using json = nlohmann::ordered_json;

constexpr std::size_t max_frame_bytes = 4 << 20;           // of rows, before a frame is closed early
constexpr unsigned long long max_content_bytes = 1U << 30; // a frame that says more is damaged
constexpr int compression_level = 3;

json to_json(const trajectory_answer& answer) {
  json rewards = json::object();
  for (const auto& [rule, reward] : answer.rewards)
    rewards[rule] = reward;
  return {{"text", answer.text},     {"tokens", answer.tokens},
          {"reward", answer.reward}, {"rewards", std::move(rewards)},
          {"finish", answer.finish}, {"versions", {answer.version_min, answer.version_max}}};
}

std::string to_line(const trajectory& row) {
  json answers = json::array();
  for (const auto& answer : row.answers)
    answers.push_back(to_json(answer));
  const json object{{"step", row.step},
                    {"part", row.part},
                    {"group", row.group},
                    {"prompt", row.prompt},
                    {"answers", std::move(answers)}};
  return object.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

/// Calls `take(rows, compressed bytes before the frame)` for each whole frame until it says no.
template <class Take>
void for_each_frame(std::string_view file, Take take) {
  std::size_t begin = 0;
  std::string rows;
  while (begin < file.size()) {
    const auto rest = file.substr(begin);
    const auto bytes = ZSTD_findFrameCompressedSize(rest.data(), rest.size());
    if (ZSTD_isError(bytes) != 0)
      break;
    const auto content = ZSTD_getFrameContentSize(rest.data(), bytes);
    if (content > max_content_bytes)
      break;
    rows.resize(content);
    if (ZSTD_isError(ZSTD_decompress(rows.data(), rows.size(), rest.data(), bytes)) != 0 || !take(rows, begin))
      return;
    begin += bytes;
  }
  take(std::string{}, begin);
}

/// Step and part.
std::pair<std::int64_t, std::int64_t> place_of(std::string_view rows) {
  const auto first = json::parse(rows.substr(0, rows.find('\n')), nullptr, false);
  return first.is_object() ? std::pair(first.value("step", std::int64_t{0}), first.value("part", std::int64_t{0}))
                           : std::pair<std::int64_t, std::int64_t>{};
}

} // namespace

bool is_sampled(std::uint64_t group, double fraction) {
  return static_cast<double>(splitmix64(group) >> 11) * 0x1p-53 < fraction;
}

trajectory_file::trajectory_file(fs::path path, double fraction)
    : path_{std::move(path)}, fraction_{fraction}, file_{path_}, context_{ZSTD_createCCtx()} {
  ZSTD_CCtx_setParameter(context_, ZSTD_c_compressionLevel, compression_level);
  ZSTD_CCtx_setParameter(context_, ZSTD_c_checksumFlag, 1);
}

trajectory_file::~trajectory_file() {
  ZSTD_freeCCtx(context_);
}

void trajectory_file::append(const trajectory& row) {
  if (!is_sampled(row.group, fraction_))
    return;
  if (row.step != step_ || rows_.size() > max_frame_bytes)
    flush();
  step_ = row.step;
  rows_ += to_line(row);
}

void trajectory_file::flush() {
  if (rows_.empty())
    return;
  std::string frame(ZSTD_compressBound(rows_.size()), '\0');
  const auto bytes = ZSTD_compress2(context_, frame.data(), frame.size(), rows_.data(), rows_.size());
  if (ZSTD_isError(bytes) != 0)
    throw run_files::storage_error("cannot compress " + path_.string() + ": " + ZSTD_getErrorName(bytes));
  rows_.clear();
  file_.append(std::string_view{frame}.substr(0, bytes));
}

std::string read_trajectories(const fs::path& path) {
  const std::string file = run_files::read_file(path);
  std::string all;
  for_each_frame(file, [&](const std::string& rows, std::size_t) {
    all += rows;
    return true;
  });
  return all;
}

std::string trajectory_follower::more() {
  std::ifstream in(path_, std::ios::binary);
  in.seekg(static_cast<std::streamoff>(read_));
  const std::string file{std::istreambuf_iterator<char>(in), {}};
  std::string rows_since;
  std::size_t whole = 0;
  for_each_frame(file, [&](const std::string& rows, std::size_t begin) {
    rows_since += rows;
    whole = begin;
    return true;
  });
  read_ += whole;
  return rows_since;
}

void forget_trajectories_after(const fs::path& folder, std::int64_t last_step, std::int64_t parts) {
  for (const auto& entry : fs::directory_iterator(folder)) {
    const auto name = entry.path().filename().string();
    if (!name.starts_with("trajectories-") || !name.ends_with(".jsonl.zst"))
      continue;
    const std::string file = run_files::read_file(entry.path());
    std::size_t kept = 0;
    for_each_frame(file, [&](const std::string& rows, std::size_t begin) {
      kept = begin;
      return !rows.empty() && place_of(rows) < std::pair(last_step + 1, parts);
    });
    if (kept < file.size())
      run_files::truncate_file(entry.path(), kept);
  }
}

} // namespace millrace::telemetry
