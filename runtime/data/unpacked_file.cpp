#include "runtime/data/unpacked_file.hpp"

#include "runtime/words/input_error.hpp"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

namespace millrace::data {
namespace {

[[noreturn]] void damaged(const std::string& name, const std::string& why) {
  throw input_error(name + ": damaged or cut short (" + why + "), want a whole file");
}

void write_all(int to, const char* bytes, std::size_t size, const std::string& name) {
  while (size > 0) {
    const auto written = ::write(to, bytes, size);
    if (written < 0 && errno == EINTR)
      continue;
    if (written < 0)
      throw input_error(name + ": cannot be unpacked into the folder for temporary files: " + std::strerror(errno));
    bytes += written;
    size -= static_cast<std::size_t>(written);
  }
}

void unpack_zst(const std::string& name, int to) {
  std::ifstream in(name, std::ios::binary);
  if (!in)
    throw input_error(name + ": cannot be opened, want a JSONL file packed with zstd");
  const std::unique_ptr<ZSTD_DStream, decltype(&ZSTD_freeDStream)> stream(ZSTD_createDStream(), ZSTD_freeDStream);
  std::vector<char> packed(ZSTD_DStreamInSize()), plain(ZSTD_DStreamOutSize());
  std::size_t left = 0; // bytes wanted to end the frame
  while (in.read(packed.data(), static_cast<std::streamsize>(packed.size())), in.gcount() > 0) {
    ZSTD_inBuffer from{packed.data(), static_cast<std::size_t>(in.gcount()), 0};
    for (bool full = false; from.pos < from.size || full;) {
      ZSTD_outBuffer into{plain.data(), plain.size(), 0};
      left = ZSTD_decompressStream(stream.get(), &into, &from);
      if (ZSTD_isError(left))
        damaged(name, ZSTD_getErrorName(left));
      write_all(to, plain.data(), into.pos, name);
      full = into.pos == into.size;
    }
  }
  if (left != 0)
    damaged(name, "it ends inside a frame");
}

void unpack_gz(const std::string& name, int to) {
  const std::unique_ptr<gzFile_s, decltype(&gzclose)> in(gzopen(name.c_str(), "rb"), gzclose);
  if (!in)
    throw input_error(name + ": cannot be opened, want a JSONL file packed with gzip");
  std::vector<char> plain(1 << 16);
  int got = 0;
  while ((got = gzread(in.get(), plain.data(), static_cast<unsigned>(plain.size()))) > 0)
    write_all(to, plain.data(), static_cast<std::size_t>(got), name);
  int error = Z_OK;
  const char* why = gzerror(in.get(), &error);
  if (got < 0 || (error != Z_OK && error != Z_STREAM_END))
    damaged(name, why);
}

} // namespace

unpacked_file::unpacked_file(const std::filesystem::path& packed) {
  auto pattern = (std::filesystem::temp_directory_path() / "millrace-rows-XXXXXX").string();
  const int to = ::mkostemp(pattern.data(), O_CLOEXEC);
  if (to < 0)
    throw input_error(pattern + ": cannot be made, wanted to unpack " + packed.string() + ": " + std::strerror(errno));
  path_ = pattern;
  try {
    packed.extension() == ".zst" ? unpack_zst(packed.string(), to) : unpack_gz(packed.string(), to);
  } catch (...) {
    ::close(to);
    ::unlink(path_.c_str());
    throw;
  }
  ::close(to);
}

unpacked_file::~unpacked_file() {
  ::unlink(path_.c_str());
}

} // namespace millrace::data
