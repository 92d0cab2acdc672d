#pragma once

#include <string>

namespace millrace {

/// The shortest decimal that reads back as the same number: "1000000", "0.1", "inf", "nan".
std::string decimal(double x);

} // namespace millrace
