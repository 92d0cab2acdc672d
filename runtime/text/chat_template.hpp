#pragma once

#include "runtime/words/chat_turn.hpp"
#include "runtime/words/tool_call.hpp"

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::text {

/// What stands behind a rendered conversation.
enum class opening { none, assistant };

/// How a model family writes a conversation as one text: what its Jinja template renders, byte for byte.
///
/// The families are written by hand; no template language is run. Llama 3.2's template asks for today's date: what is
/// rendered is the date it falls back to, so that a prompt does not depend on the day.
class chat_template {
public:
  virtual ~chat_template() = default;

  /// The text of `messages`, and behind it the opening of a further turn.
  ///
  /// The result of a tool is a turn of the role `tool`, and stands as the family's template writes it. A call of a tool
  /// is text of the assistant's turn: `with_calls` writes it.
  ///
  /// @param tools that are offered, each as JSON: see tool_format.hpp. Families whose templates offer none do it as
  ///              Qwen2.5 does, Llama 3 as Llama 3.1
  /// @throws input_error for a role that the templates do not take, or no message
  virtual std::string render(std::span<const chat_turn> messages, std::span<const std::string> tools,
                             opening next) const = 0;

  std::string render(std::span<const chat_turn> messages, opening next) const { return render(messages, {}, next); }

  /// The calls of tools that a turn of the assistant spells. @param text without special tokens
  virtual called_turn calls_in(std::string_view text) const = 0;

  /// The text of a turn with calls, as the family's template writes it.
  virtual std::string with_calls(const called_turn& turn) const = 0;

  /// Whether it leaves out of earlier turns what the model thought in them.
  virtual bool leaves_thoughts_out() const { return false; }

  /// Whether turns of the assistant stand otherwise once `said` follows `history` than they were read before, because
  /// of thoughts left out. @param history ends with a turn of the assistant
  virtual bool rewrites(std::span<const chat_turn> history, std::span<const chat_turn> said) const {
    static_cast<void>(history), static_cast<void>(said);
    return false;
  }

  /// The token that ends each turn, as it stands in the text.
  virtual std::string_view turn_end() const = 0;

  /// Its name in a pipeline file: chatml, smollm2, llama3, ...
  std::string_view name() const { return name_; }

  /// The Jinja text it was recognised from, to be saved with the model; "" if it was named.
  const std::string& source() const { return source_; }

protected:
  explicit chat_template(std::string_view name, std::string source) : name_(name), source_(std::move(source)) {}

private:
  std::string_view name_;
  std::string source_;
};

/// The names that `named_chat_template` takes.
std::vector<std::string_view> chat_template_names();

/// @param bos the begin-of-text token that the Llama families write in front
/// @throws input_error that lists the names if `name` is none of them
std::shared_ptr<const chat_template> named_chat_template(std::string_view name,
                                                         std::string_view bos = "<|begin_of_text|>");

/// The family whose template `text` is: the one whose `template_skeleton` is equal, so that a template that differs in
/// anything that shows is not taken for it. The default system line of a ChatML family is read out of the text.
///
/// @param text   Jinja, as in tokenizer_config.json, chat_template.jinja or GGUF's tokenizer.chat_template
/// @param origin the file, for the error line
/// @param bos    the begin-of-text token that the Llama families write in front
/// @throws input_error for a template of no known family; says how to name one
std::shared_ptr<const chat_template> recognise_chat_template(std::string_view text, std::string_view origin,
                                                             std::string_view bos = "<|begin_of_text|>");

} // namespace millrace::text
