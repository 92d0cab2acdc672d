#pragma once

#include <caf/error.hpp>
#include <caf/make_message.hpp>
#include <caf/message.hpp>
#include <caf/result.hpp>
#include <caf/sec.hpp>

#include <exception>
#include <string>
#include <type_traits>

namespace millrace::actors {

/// An error that carries one line for people.
inline caf::error error_with(std::string line) { return caf::make_error(caf::sec::runtime_error, std::move(line)); }

/// The line of an error made by `error_with`, or CAF's own words for its own errors.
std::string line_of(const caf::error& error);

/// Runs `compute`; what it throws becomes the error that the asker gets.
template <class Compute>
caf::result<std::invoke_result_t<Compute>> answer_or_error(Compute compute) {
  try {
    return compute();
  } catch (const std::exception& failure) {
    return error_with(failure.what());
  }
}

} // namespace millrace::actors
