#include "runtime/data/shuffle.hpp"
#include "runtime/data/source.hpp"
#include "runtime/data/system_turn.hpp"
#include "runtime/words/input_error.hpp"

#include <stdexcept>

namespace millrace::data {
namespace {

class arithmetic final : public source {
public:
  explicit arithmetic(arithmetic_options options) : options_(std::move(options)) {
    if (options_.operation != "add" && options_.operation != "subtract" && options_.operation != "multiply")
      throw std::invalid_argument("operation: want add, subtract or multiply, got " + options_.operation);
    if (options_.min > options_.max)
      throw std::invalid_argument("min: want at most max");
  }

  std::optional<row> next() override {
    const std::uint64_t index = next_++;
    const auto span = static_cast<std::uint64_t>(options_.max - options_.min) + 1;
    const auto number = [&](std::uint64_t which) {
      return options_.min + static_cast<std::int64_t>(drawn_below(options_.seed, 2 * index + which, span));
    };
    const std::int64_t a = number(0), b = number(1);
    row r;
    r.prompt = {{"user", "What is " + std::to_string(a) + ' ' + word() + ' ' + std::to_string(b) + '?'
                             + (options_.suffix.empty() ? "" : ' ' + options_.suffix)}};
    add_system(r.prompt, options_.system);
    r.answer = std::to_string(options_.operation == "add" ? a + b : options_.operation == "subtract" ? a - b : a * b);
    r.data_source = "arithmetic";
    r.index = index;
    r.where = "arithmetic:" + std::to_string(index);
    return r;
  }

  position save() const override { return {0, next_, 0}; }

  void restore(const position& at) override {
    if (at.rows != 0 || at.epoch != 0)
      throw input_error("the saved position is of a file with " + std::to_string(at.rows)
                        + " rows, want one of the arithmetic generator");
    next_ = at.next;
  }

  std::uint64_t skipped() const override { return 0; }

private:
  const char* word() const {
    return options_.operation == "add" ? "plus" : options_.operation == "subtract" ? "minus" : "times";
  }

  arithmetic_options options_;
  std::uint64_t next_ = 0;
};

} // namespace

std::unique_ptr<source> make_arithmetic(arithmetic_options options) {
  return std::make_unique<arithmetic>(std::move(options));
}

} // namespace millrace::data
