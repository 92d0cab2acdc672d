#pragma once

#include "runtime/telemetry/ledger_totals.hpp"

#include <string>
#include <string_view>

namespace millrace::report {

/// Where the generated tokens went, as bands from "generated" to each fate: as thick as their share. "" without tokens.
std::string token_flow(std::string_view title, const telemetry::ledger_totals& ledger);

} // namespace millrace::report
