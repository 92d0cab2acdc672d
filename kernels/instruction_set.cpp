#include "kernels/instruction_set.hpp"

#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>

namespace millrace::kernels {

namespace {

instruction_set widest_of_machine() {
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd")
      && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
    return __builtin_cpu_supports("avx512vnni") ? instruction_set::avx512vnni : instruction_set::avx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2"))
    return instruction_set::avx2;
  return instruction_set::portable;
}

} // namespace

instruction_set at_most(instruction_set widest, const char* asked) {
  if (asked == nullptr || *asked == '\0')
    return widest;
  for (const auto set :
       {instruction_set::portable, instruction_set::avx2, instruction_set::avx512, instruction_set::avx512vnni})
    if (std::string_view(asked) == name(set))
      return std::min(widest, set);
  throw std::invalid_argument(std::string("MILLRACE_INSTRUCTIONS: found '") + asked
                              + "', want portable, avx2, avx512 or avx512vnni");
}

instruction_set best_instruction_set() {
  static const instruction_set best = at_most(widest_of_machine(), std::getenv("MILLRACE_INSTRUCTIONS"));
  return best;
}

const char* name(instruction_set value) {
  switch (value) {
  case instruction_set::avx512vnni:
    return "avx512vnni";
  case instruction_set::avx512:
    return "avx512";
  case instruction_set::avx2:
    return "avx2";
  case instruction_set::portable:
    break;
  }
  return "portable";
}

} // namespace millrace::kernels
