#include "runtime/rules/rule.hpp"
#include "runtime/words/input_error.hpp"

#include <algorithm>

namespace millrace::rules {

extern const rule_type length;

namespace {

struct bounds {
  std::int64_t min, max, falloff;
  bool characters, must_finish;
};

/// 1 for a length in [min, max]; outside, 1 - distance / (falloff + 1), at least 0.
class length_rule final : public rule {
public:
  explicit length_rule(bounds within) : within_(within) {}

  score evaluate(const rule_input& input) const override {
    if (within_.must_finish && input.truncated)
      return score::of(0);
    const std::int64_t size = within_.characters
                                  ? std::count_if(input.text.begin(), input.text.end(),
                                                  [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; })
                                  : input.tokens;
    const std::int64_t outside = std::max({within_.min - size, size - within_.max, std::int64_t{0}});
    const double kept = 1 - static_cast<double>(outside) / static_cast<double>(within_.falloff + 1);
    return score::of(std::max(kept, 0.0));
  }

private:
  bounds within_;
};

constexpr double longest = 1e9;

std::unique_ptr<rule> make_length(const option_values& given) {
  const bounds within{std::get<std::int64_t>(given.at("min")), std::get<std::int64_t>(given.at("max")),
                      std::get<std::int64_t>(given.at("falloff")),
                      std::get<std::string>(given.at("unit")) == "characters", std::get<bool>(given.at("must_finish"))};
  if (within.max < within.min)
    throw input_error("rule length: max: found " + std::to_string(within.max) + ", want an integer >= min, "
                      + std::to_string(within.min));
  return std::make_unique<length_rule>(within);
}

} // namespace

const rule_type length{
    .name = "length",
    .meaning = "1 for an answer whose length lies in [min, max], less outside",
    .options = {{.name = "min",
                 .fallback = std::int64_t{0},
                 .allowed = between(0, longest),
                 .meaning = "shortest answer that scores 1"},
                {.name = "max",
                 .fallback = std::int64_t{0},
                 .allowed = needed(between(0, longest)),
                 .meaning = "longest answer that scores 1, >= min"},
                {.name = "falloff",
                 .fallback = std::int64_t{0},
                 .allowed = between(0, longest),
                 .meaning = "units outside the range over which the score falls linearly; beyond them it is 0"},
                {.name = "unit",
                 .fallback = std::string("tokens"),
                 .allowed = one_of({"tokens", "characters"}),
                 .meaning = "what is counted"},
                {.name = "must_finish",
                 .fallback = false,
                 .allowed = any(),
                 .meaning = "an answer cut off at the token limit scores 0"}},
    .make = make_length};

} // namespace millrace::rules
