#pragma once

#include "runtime/columns/prompt_columns.hpp"
#include "runtime/model/checkpoint.hpp"
#include "runtime/roles/abilities.hpp"
#include "runtime/roles/job_thread.hpp"
#include "runtime/roles/role_setup.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace millrace::roles {

/// One demonstrated answer as tokens.
struct demonstrated_answer {
  std::vector<std::int32_t> tokens;
  /// 1: the assistant's own, to be learned; 0: what the template or the user put between
  std::vector<std::uint8_t> mask;
  std::string text; ///< of the tokens, without special ones
};

/// A row's answers as tokens.
struct demonstrated_group {
  std::vector<std::int32_t> prompt;
  std::vector<demonstrated_answer> answers;
  double margin = 0; ///< of a preference; 0: not said
};

/// Writes a row as the model would read it: the prompt up to the opening of the assistant's turn, each of that
/// turn's answers up to and with the token that ends it. In `train_on = "every"` the turns between are part of the
/// answer under mask 0; in "last" they are part of the prompt, and an answer is one turn.
///
/// @throws input_error in one line: the row has another form than the table wants; an answer or the prompt is too long;
///         the model's template refuses the conversation; the answers to one prompt differ in a turn before the last
demonstrated_group write_demonstrations(const model::checkpoint& words, const pipeline::demonstrations_table& table,
                                        std::int64_t max_prompt_tokens, const columns::prompt_content& row);

/// The columns that a rollout adds, and `reward`: 1 for the only or the better answer (its row's margin
/// where it says one), 0 for the worse. `logprob` is 0: nobody sampled these tokens.
transport::bundle columns_of(const demonstrated_group& group, std::uint32_t version);

/// `kind = "demonstrations"`: answers with what the rows hold. Its tokens are stamped with the version that is being
/// trained, so that the ledger and the bound on staleness hold as for sampled answers. It never pulls weights: a
/// version is taken up at once. A row that cannot be used is refused with an error. Overloaded: rows queue.
class demonstrations_role : public generator, public weights_taker {
public:
  /// Loads tokenizer and template. @throws input_error if the model's folder cannot be read
  demonstrations_role(const role_setup& setup, const pipeline::demonstrations_table& table);

  void generate(const generate_group& ask, std::shared_ptr<environment> plays, answer_to<group_accepted> done) override;

  /// Does nothing: a row that was asked for is answered anyway, and an answer that nobody needs does no harm.
  void cancel(const cancel_group&) override {}

  void interrupt(const interrupt_group&) override {}

  void take(const new_weights& ask, answer_to<weights_live> done) override;

private:
  struct state;

  std::shared_ptr<const state> state_;
  std::uint32_t version_ = 0;
  std::unique_ptr<job_thread> thread_;
};

} // namespace millrace::roles
