#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace millrace::text {

/// What makes a chat template: its Jinja text without anything that does not show in what it renders.
struct template_skeleton {
  std::uint64_t hash = 0;     ///< FNV-1a of the canonical text, in which the default system line is a hole
  std::string default_system; ///< what ChatML families write as system turn where there is none; "" = nothing
};

/// Two templates have the same skeleton if they differ only in comments, in white space that `trim_blocks`,
/// `lstrip_blocks` or `-` cut away, in white space and quotes inside tags, in escapes, in `a.b` against `a['b']`, or in
/// the default system line. Reads any text, also one that is not Jinja.
template_skeleton skeleton_of(std::string_view jinja);

} // namespace millrace::text
