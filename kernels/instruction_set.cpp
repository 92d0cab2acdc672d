#include "kernels/instruction_set.hpp"

namespace millrace::kernels {

instruction_set best_instruction_set() {
  static const instruction_set best = [] {
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
      return instruction_set::avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2"))
      return instruction_set::avx2;
    return instruction_set::portable;
  }();
  return best;
}

const char* name(instruction_set value) {
  switch (value) {
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
