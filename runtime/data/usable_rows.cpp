#include "runtime/data/usable_rows.hpp"

#include "runtime/data/parse_row.hpp"
#include "runtime/data/system_turn.hpp"
#include "runtime/formats/quoted.hpp"
#include "runtime/words/input_error.hpp"

#include <algorithm>
#include <array>

namespace millrace::data {

usable_rows::usable_rows(std::string name, std::unique_ptr<row_file> rows, file_options options, on_skip skip)
    : name_(std::move(name)), options_(std::move(options)), skip_(std::move(skip)), file_(std::move(rows)),
      count_(file_->rows()) {
  check_columns(file_->columns());
}

/// One line in place of one a row.
void usable_rows::check_columns(const std::vector<std::string>& columns) const {
  if (columns.empty())
    return;
  const auto has = [&](const std::string& name) {
    return std::find(columns.begin(), columns.end(), name) != columns.end();
  };
  std::string found;
  for (const auto& name : columns)
    found += (found.empty() ? "" : ", ") + name;
  found = formats::printable(name_ + ": found columns " + found, 4096);
  for (const auto& [ours, theirs] : options_.columns)
    if (!has(theirs) && !has(theirs.substr(0, theirs.find('.'))))
      throw input_error(found + ", want " + formats::in_quotes(theirs) + " as the column of " + ours);
  constexpr std::array prompts{"prompt", "messages", "chosen"};
  constexpr std::array openrlhf{"input", "context_messages"};
  const auto named = [&](const char* name) { return has(name) || options_.columns.contains(name); };
  if (std::none_of(prompts.begin(), prompts.end(), named) && std::none_of(openrlhf.begin(), openrlhf.end(), has))
    throw input_error(found + ", want one named prompt, messages or chosen (docs/rows.md)");
}

void usable_rows::want_one() const {
  if (bad_.size() == count_)
    throw input_error(name_ + ": none of its " + std::to_string(count_)
                      + " rows can be used, the first: " + first_bad_);
}

std::optional<row> usable_rows::read(std::uint64_t which, const row_file::upcoming& after) {
  const auto text = file_->read(which, after);
  const std::string where = file_->where(which);
  try {
    if (!text.why.empty())
      throw input_error(text.why);
    row r = parse_row(text.text, options_.columns);
    if (const auto why = options_.unusable ? options_.unusable(r) : std::string(); !why.empty())
      throw input_error(why);
    r.where = where;
    r.number = which;
    add_system(r.prompt, options_.system);
    return r;
  } catch (const input_error& error) {
    const std::string reason = formats::printable(where + ": " + error.what(), 4096);
    if (first_bad_.empty() || which < *bad_.begin())
      first_bad_ = reason;
    if (bad_.insert(which).second && skip_)
      skip_(reason);
    return std::nullopt;
  }
}

} // namespace millrace::data
