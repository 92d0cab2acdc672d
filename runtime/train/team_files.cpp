#include "runtime/model/checkpoint.hpp"
#include "runtime/train/optimizer.hpp"
#include "runtime/train/team.hpp"
#include "runtime/words/input_error.hpp"
#include "runtime/words/no_signals.hpp"

#include <utility>

/// What ranks write of what they have: each its numbers at their places in files that they share.
namespace millrace::train {
namespace {

using collective::group;

std::vector<std::int64_t> words_of(const std::vector<team::file>& files) {
  std::vector<std::int64_t> words;
  for (const auto& [what, path] : files) {
    const auto text = collective::words_of(path.string());
    words.insert(words.end(), {static_cast<std::int64_t>(what), static_cast<std::int64_t>(text.size())});
    words.insert(words.end(), text.begin(), text.end());
  }
  return words;
}

std::vector<team::file> files_in(std::span<const std::int64_t> words) {
  std::vector<team::file> files;
  while (!words.empty()) {
    const auto what = static_cast<team::written>(words[0]);
    const auto length = static_cast<std::size_t>(words[1]);
    files.push_back({what, collective::text_of(words.subspan(2, length))});
    words = words.subspan(2 + length);
  }
  return files;
}

/// @returns "": it is written
std::string failure_of(const std::vector<std::function<void()>>& writers) {
  try {
    for (const auto& write : writers)
      write();
    return "";
  } catch (const std::exception& failure) {
    return *failure.what() ? failure.what() : "cannot write";
  }
}

} // namespace

/// With room for what all ranks write.
void team::make_room(const file& one) const {
  switch (one.what) {
  case written::moments:
    return make_optimizer_file(optimizer_, one.path);
  case written::parameters:
    return model::checkpoint_parts(one.path, held_.leaves()).make_room();
  case written::start:
    return model::weights_file_parts(one.path, held_.leaves(), {}).make_room();
  }
}

/// What writes this rank's part. It keeps the numbers' memory and looks at nothing else that changes.
std::function<void()> team::writer_of(const file& one) const {
  if (one.what == written::moments)
    return [this, path = one.path] { write_moments(optimizer_, path); };
  const bool start = one.what == written::start;
  auto write_into = [pieces = held_.pieces(seat_.place.rank), own = held_.own(start)](auto into) {
    for (std::size_t i = 0; i < pieces.size(); ++i)
      into.write(pieces[i].parameter, pieces[i].begin, own[i].tensor);
    into.finish();
  };
  if (start)
    return [this, path = one.path, write_into = std::move(write_into)] {
      write_into(model::weights_file_parts(path, held_.leaves(), {}));
    };
  return [this, path = one.path, write_into = std::move(write_into)] {
    write_into(model::checkpoint_parts(path, held_.leaves()));
  };
}

void team::begin_own_writing(const std::vector<file>& files) {
  await_own_writing();
  std::vector<std::function<void()>> writers;
  for (const auto& one : files)
    writers.push_back(writer_of(one));
  const no_signals quiet;
  writing_ = std::async(std::launch::async, [writers = std::move(writers)] { return failure_of(writers); }).share();
}

/// Another rank. @param told by the first one: what `words_of` made
void team::begin_own_writing(std::span<const std::int64_t> told) {
  begin_own_writing(files_in(told));
}

/// "": it has written, or nothing was begun
std::string team::own_failure() const {
  return writing_.valid() ? writing_.get() : "";
}

void team::await_own_writing() const {
  if (writing_.valid())
    writing_.wait();
}

std::shared_future<std::string> team::begin_to_write(std::vector<file> files) {
  await_own_writing();
  // Ranks that are alike leave it to the leader, who alone has the start then.
  std::erase_if(files, [&](const file& one) {
    if (one.what != written::start || held_.in_shares())
      return false;
    model::write_safetensors(one.path, held_.whole(true), precision::float32, {});
    return true;
  });
  const auto make_all = [&] {
    for (const auto& one : files)
      make_room(one);
  };
  if (!shared_out())
    make_all();
  else
    until_none_is_lost([&] {
      with_group([&](group& ranks) {
        make_all();
        tell(ranks, command::write, words_of(files));
      });
    });
  writers_ = group_;
  begin_own_writing(files);
  return writing_;
}

void team::end_writing() {
  std::vector<std::string> failures{own_failure()};
  if (shared_out()) {
    const std::string gone = "a rank is gone that was writing its share";
    if (!group_ || writers_.lock() != group_)
      throw input_error(gone);
    try {
      tell(*group_, command::end_writing);
      for (const auto& other : collective::collect(*group_))
        failures.push_back(collective::text_of(other.words));
    } catch (const collective::lost& why) {
      lose_group(why.what());
      throw input_error(gone);
    }
  }
  for (const auto& failure : failures)
    if (!failure.empty())
      throw input_error(failure);
}

} // namespace millrace::train
