#include "runtime/watch/line_follower.hpp"

#include <algorithm>
#include <fstream>

namespace millrace::watch {

line_follower::news line_follower::more() {
  constexpr std::uintmax_t most = 4 << 20;
  news found;
  std::error_code gone;
  const auto size = std::filesystem::file_size(path_, gone);
  if (gone)
    return found;
  if (size < read_) {
    read_ = 0;
    found.anew = true;
  }
  if (size == read_)
    return found;
  std::ifstream file(path_, std::ios::binary);
  file.seekg(static_cast<std::streamoff>(read_));
  std::string text(std::min(size - read_, most), '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  std::size_t at = 0;
  for (auto end = text.find('\n'); end != std::string::npos; end = text.find('\n', at)) {
    found.lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  read_ += at == 0 && text.size() == most ? most : at; // a line longer than that is none that a run writes
  return found;
}

} // namespace millrace::watch
