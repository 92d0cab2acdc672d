#pragma once

#include <nlohmann/json.hpp>

#include <string_view>

namespace millrace::rules {

/// Whether a program printed what it should. Spaces around a line and empty lines do not count. Lines are equal when
/// their words are: as text, or as numbers of which one is no integer, at a distance of at most 1e-8 + 1e-5 |wanted|.
bool same_output(std::string_view found, std::string_view wanted);

/// Whether a function returned what it should: equal as JSON, numbers as above. `wanted` may be a list of one, the
/// value. @param found JSON text of at most 64 levels; anything else is no match
bool same_result(std::string_view found, const nlohmann::json& wanted);

} // namespace millrace::rules
