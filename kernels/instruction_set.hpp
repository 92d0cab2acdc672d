#pragma once

#include <type_traits>

namespace millrace::kernels {

/// What a CPU kernel may be compiled to. The program is built for any x86-64; the wider versions stand beside it.
/// avx512vnni is AVX-512 with its dot products of 16-bit numbers (VNNI).
enum class instruction_set { portable, avx2, avx512, avx512vnni };

/// The widest one this machine has, or a narrower one that the environment's MILLRACE_INSTRUCTIONS names.
/// @throws std::invalid_argument for another word there
instruction_set best_instruction_set();

/// What `asked` names ("portable", "avx2", "avx512", "avx512vnni"), at most `widest`; `widest` for nullptr and "".
/// @throws std::invalid_argument for any other word
instruction_set at_most(instruction_set widest, const char* asked);

const char* name(instruction_set value);

namespace detail {

template <class Body>
[[gnu::target("arch=x86-64-v4"), gnu::noinline]] void run_avx512(const Body& body) {
  body(std::integral_constant<int, 16>{});
}

template <class Body>
[[gnu::target("arch=x86-64-v3"), gnu::noinline]] void run_avx2(const Body& body) {
  body(std::integral_constant<int, 8>{});
}

template <class Body>
[[gnu::noinline]] void run_portable(const Body& body) {
  body(std::integral_constant<int, 4>{});
}

} // namespace detail

/// Runs `body(width)`, width the floats of one register, compiled for `value`; for avx512vnni as for avx512. `body` is
/// a lambda marked
/// `__attribute__((always_inline))`, like every function it calls: inlining is what compiles it for those instructions.
template <class Body>
void with_instruction_set(instruction_set value, const Body& body) {
  switch (value) {
  case instruction_set::avx512vnni:
  case instruction_set::avx512:
    return detail::run_avx512(body);
  case instruction_set::avx2:
    return detail::run_avx2(body);
  case instruction_set::portable:
    return detail::run_portable(body);
  }
}

} // namespace millrace::kernels
