#include "runtime/words/input_error.hpp"
#include "tests/fuzz/readers.hpp"
#include "tests/fuzz/watched.hpp"
#include "tests/support/setting.hpp"
#include "tests/support/temporary_folder.hpp"

#include <ATen/Parallel.h>
#include <doctest/doctest.h>

#include <cstdlib>
#include <cstring>

namespace fuzz_test {

using namespace millrace;

namespace {

constexpr std::uint64_t usual_inputs = 20'000;
constexpr int most_failures = 5; // of one reader: then the next

fuzz::readers all_readers(const std::filesystem::path& scratch) {
  fuzz::readers all;
  for (const auto list : {fuzz::format_readers, fuzz::text_readers, fuzz::model_readers, fuzz::data_readers,
                          fuzz::asked_readers, fuzz::pipeline_readers, fuzz::run_readers, fuzz::wire_readers})
    for (auto& one : list(scratch))
      all.push_back(std::move(one));
  return all;
}

std::string from_environment(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::uint64_t inputs_wanted() {
  return tests::setting("MILLRACE_FUZZ_INPUTS", usual_inputs);
}

/// Why it was refused; "" for an input that was taken. Anything but an input_error goes on as it is.
std::string refusal_of(const fuzz::reader& reader, const std::string& bytes) {
  try {
    reader.read(bytes);
    return "";
  } catch (const input_error& error) {
    const std::string line = error.what();
    return line.empty() ? throw std::logic_error("a refusal without a word") : line;
  }
}

/// What is wrong about how the reader took this input; "" if nothing.
std::string fault_of(const fuzz::reader& reader, std::uint64_t number, std::uint64_t& refused) {
  const std::string bytes = fuzz::mutated(reader, number);
  const fuzz::watched now(reader.name, number);
  try {
    refused += refusal_of(reader, bytes).empty() ? 0 : 1;
    return "";
  } catch (const std::bad_alloc&) {
    return "asks for more than 1 GiB of memory";
  } catch (const std::exception& error) {
    return std::string("throws ") + typeid(error).name() + ": " + error.what();
  }
}

} // namespace

TEST_CASE("every reader takes the whole inputs that its mutations start from") {
  const tests::temporary_folder scratch;
  for (const auto& reader : all_readers(scratch.path()))
    for (const auto& bytes : reader.whole) {
      CAPTURE(reader.name);
      CHECK(refusal_of(reader, bytes) == "");
    }
}

TEST_CASE("a mutated input of any reader is a value or an input_error, in two seconds and one GiB") {
  const tests::temporary_folder scratch;
  at::set_num_threads(1);
  const auto readers = all_readers(scratch.path());
  const auto only = from_environment("MILLRACE_FUZZ_READER");
  const auto begin = tests::setting("MILLRACE_FUZZ_FIRST", 0);
  const std::uint64_t each = only.empty() ? inputs_wanted() / readers.size() + 1 : inputs_wanted();
  const fuzz::watchdog dog;
  for (const auto& reader : readers) {
    if (!only.empty() && reader.name != only)
      continue;
    std::uint64_t refused = 0;
    int failures = 0;
    for (std::uint64_t number = begin; number < begin + each && failures < most_failures; ++number)
      if (const auto fault = fault_of(reader, number, refused); !fault.empty()) {
        ++failures;
        FAIL_CHECK(fuzz::named(reader.name, number), ": ", fault);
      }
    MESSAGE(reader.name << ": " << refused << " of " << each << " refused, the slowest took "
                        << fuzz::watched::slowest_ms() << " ms");
    CHECK((refused > 0) == reader.refuses);
  }
}

} // namespace fuzz_test
