#pragma once

#include <string>
#include <string_view>

namespace millrace::stated {

/// `text` with one spelling for what Unicode, LaTeX and Markdown spell in many ways, so that a reader of numbers needs
/// to know only that one. It takes time in proportion to the text.
///
///     digits of any script, full width: 0-9           minus signs and dashes: -      x, middle dots, \times, \cdot: *
///     powers and indices in Unicode: ^{2} and _{1}     a fraction in one character: 1/2
///     currency signs, $, \(, \[, LaTeX's spaces, &: a space, or nothing behind a sign
///     LaTeX's \\: a line's end
///     \text, \mathrm, \mathbf and their like: what is in their braces, behind a space
///     \dfrac, \tfrac, \cfrac: \frac      \fbox: \boxed      \div, \over: /      \approx: the sign      \ldots: ...
///     ^\circ, \degree: the degree sign  \bar, \overline: \overline  {,}: a comma, or a point if not 3 digits follow
///     Markdown's ** and ` and __ : nothing
///
/// Every other command stays as it is: a reader that does not know it must not guess. \{ and \} stay too: they are
/// sets.
std::string plain_math(std::string_view text);

} // namespace millrace::stated
