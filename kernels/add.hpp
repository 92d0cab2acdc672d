#pragma once

#include <cstdint>

namespace millrace::kernels {

class thread_team;

/// y[i] += x[i] for i in [0, count).
void add(float* y, const float* x, std::int64_t count, thread_team& team);

} // namespace millrace::kernels
