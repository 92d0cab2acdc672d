#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

namespace millrace {

/// The words of an enum that people read and write. They stand once, beside the enum, in the order of its values:
///
///     enum class fruit : std::uint8_t { apple, pear };
///     constexpr auto words_for(fruit) { return std::to_array<std::string_view>({"apple", "pear"}); }
///
/// Whatever reads or writes a field of such a type (pipeline files, saved states, messages) asks here.
template <class Enum>
concept enum_with_words = std::is_enum_v<Enum> && requires(Enum value) {
  words_for(value);
};

/// All words of an enum, in the order of its values.
template <enum_with_words Enum>
constexpr auto words_of() {
  return words_for(Enum{});
}

/// The word of a value. @throws std::out_of_range for a number that is no value of the enum
template <enum_with_words Enum>
std::string word(Enum value) {
  constexpr auto words = words_of<Enum>();
  return std::string(words.at(static_cast<std::size_t>(value)));
}

/// The value that a word stands for; none for any other word.
template <enum_with_words Enum>
std::optional<Enum> value_of(std::string_view word) {
  constexpr auto words = words_of<Enum>();
  for (std::size_t i = 0; i < words.size(); ++i)
    if (words[i] == word)
      return static_cast<Enum>(i);
  return std::nullopt;
}

} // namespace millrace
