#include "runtime/telemetry/trajectories.hpp"

#include "runtime/formats/strict_json.hpp"
#include "runtime/words/mix_bits.hpp"

#include <nlohmann/json.hpp>
#include <zstd.h>

#include <cmath>
#include <fstream>
#include <string_view>

namespace millrace::telemetry {
namespace {

namespace fs = std::filesystem;
using json = nlohmann::ordered_json;

constexpr std::size_t max_frame_bytes = 4 << 20;    // of rows, before a frame is closed early
constexpr std::size_t max_content_bytes = 64 << 20; // a frame of more is none of ours
constexpr int compression_level = 3;

/// With four digits after the point; null for what is not finite.
json rounded(const std::vector<float>& values) {
  json all = json::array();
  for (const double value : values)
    all.push_back(std::round(value * 1e4) / 1e4);
  return all;
}

json to_json(const trajectory_answer& answer) {
  json rewards = json::object();
  for (const auto& [rule, reward] : answer.rewards)
    rewards[rule] = reward;
  json object{{"text", answer.text},     {"tokens", answer.tokens},
              {"reward", answer.reward}, {"rewards", std::move(rewards)},
              {"finish", answer.finish}, {"versions", {answer.version_min, answer.version_max}}};
  if (!answer.episode.empty())
    object["episode"] = answer.episode;
  if (const auto& shown = answer.shown; !shown.text.empty())
    object["shown"] = {{"text", shown.text},
                       {"logprob", rounded(shown.logprob)},
                       {"policy_logprob", rounded(shown.policy_logprob)},
                       {"version", shown.version}};
  return object;
}

} // namespace

std::string to_line(const trajectory& row) {
  json answers = json::array();
  for (const auto& answer : row.answers)
    answers.push_back(to_json(answer));
  const json object{{"step", row.step},
                    {"part", row.part},
                    {"group", row.group},
                    {"data_source", row.data_source},
                    {"prompt", row.prompt},
                    {"ground_truth", row.ground_truth},
                    {"answers", std::move(answers)}};
  return object.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

namespace {

/// The frames of a file, one after another.
class frame_reader {
public:
  /// @param from bytes of the file to pass over: whole frames
  explicit frame_reader(const fs::path& path, std::size_t from = 0)
      : file_{path, std::ios::binary}, stream_{ZSTD_createDStream()}, begin_{from}, end_{from} {
    if (!file_)
      throw run_files::storage_error("cannot open " + path.string());
    file_.seekg(static_cast<std::streamoff>(from));
  }

  ~frame_reader() { ZSTD_freeDStream(stream_); }

  frame_reader(const frame_reader&) = delete;
  frame_reader& operator=(const frame_reader&) = delete;

  /// Reads one whole frame into `rows`. @returns false where none is left, or one that is torn or damaged
  bool next(std::string& rows) {
    rows.clear();
    begin_ = end_;
    for (std::size_t left = 1; left != 0;) {
      if (in_.pos == in_.size && !fill())
        return false;
      const auto before = in_.pos;
      ZSTD_outBuffer out{part_.data(), part_.size(), 0};
      left = ZSTD_decompressStream(stream_, &out, &in_);
      end_ += in_.pos - before;
      rows.append(part_.data(), out.pos);
      if (ZSTD_isError(left) != 0 || rows.size() > max_content_bytes)
        return false;
    }
    return true;
  }

  /// Bytes of the file before the frame that was read last, or could not be.
  std::size_t begin() const { return begin_; }

private:
  bool fill() {
    file_.read(block_.data(), static_cast<std::streamsize>(block_.size()));
    in_ = {block_.data(), static_cast<std::size_t>(file_.gcount()), 0};
    return in_.size > 0;
  }

  std::ifstream file_;
  ZSTD_DStream* stream_;
  std::vector<char> block_ = std::vector<char>(1 << 16), part_ = std::vector<char>(1 << 17);
  ZSTD_inBuffer in_{nullptr, 0, 0};
  std::size_t begin_, end_;
};

/// Step and part.
std::pair<std::int64_t, std::int64_t> place_of(std::string_view rows) {
  const auto first = formats::json_or_discarded(rows.substr(0, rows.find('\n')));
  const auto number = [&](const char* name) {
    const auto found = first.is_object() ? first.find(name) : first.end();
    return found != first.end() && found->is_number_integer() ? found->get<std::int64_t>() : 0;
  };
  return {number("step"), number("part")};
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

void for_each_frame(const fs::path& path, const std::function<void(const std::string& rows)>& take) {
  frame_reader frames(path);
  for (std::string rows; frames.next(rows);)
    take(rows);
}

std::string read_trajectories(const fs::path& path) {
  std::string all;
  for_each_frame(path, [&](const std::string& rows) { all += rows; });
  return all;
}

std::string trajectory_follower::more() {
  std::string rows_since;
  for_each_new_frame([&](const std::string& rows) { rows_since += rows; });
  return rows_since;
}

void trajectory_follower::for_each_new_frame(const std::function<void(const std::string& rows)>& take) {
  std::error_code gone;
  if (!fs::exists(path_, gone))
    return;
  frame_reader frames(path_, read_);
  for (std::string rows; frames.next(rows);)
    take(rows);
  read_ = frames.begin();
}

void forget_trajectories_after(const fs::path& folder, std::int64_t last_step, std::int64_t parts) {
  for (const auto& entry : fs::directory_iterator(folder)) {
    const auto name = entry.path().filename().string();
    if (!name.starts_with("trajectories-") || !name.ends_with(".jsonl.zst"))
      continue;
    frame_reader frames(entry.path());
    std::string rows;
    while (frames.next(rows) && !rows.empty() && place_of(rows) < std::pair(last_step + 1, parts))
      continue;
    if (frames.begin() < fs::file_size(entry.path()))
      run_files::truncate_file(entry.path(), frames.begin());
  }
}

} // namespace millrace::telemetry
