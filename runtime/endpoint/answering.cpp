#include "runtime/endpoint/answering.hpp"

#include "runtime/text/utf8.hpp"

#include <ctime>
#include <random>
#include <utility>

namespace millrace::endpoint {

using openai::request_error;

answering::answering(const served_model& model, client_requests& from, openai::completion_request asked,
                     openai::reply_way out)
    : model_(model), from_(from), asked_(std::move(asked)), out_(std::move(out)),
      text_({.chat = asked_.chat,
             .id = openai::fresh_id(asked_.chat ? "chatcmpl-" : "cmpl-"),
             .model = model.name,
             .created = std::time(nullptr)},
            asked_) {
}

answering::~answering() {
  if (open_ > 0)
    for (const auto group : groups_)
      from_.cancel(group);
}

std::vector<std::int32_t> answering::tokens_of(const openai::prompt& given) const {
  if (const auto* tokens = std::get_if<std::vector<std::int32_t>>(&given)) {
    for (const auto token : *tokens)
      if (token >= model_.vocabulary)
        throw request_error(400,
                            "prompt: found token " + std::to_string(token) + ", want one from 0 to "
                                + std::to_string(model_.vocabulary - 1),
                            "prompt");
    return *tokens;
  }
  return model_.tok->encode(std::get<std::string>(given), text::edges::special);
}

void answering::begin() {
  try {
    if (asked_.chat)
      prompts_.push_back(model_.encode_chat(asked_.messages, asked_.tools));
    else
      for (const auto& one : asked_.prompts)
        prompts_.push_back(tokens_of(one));
  } catch (const request_error&) {
    throw;
  } catch (const input_error& why) {
    throw request_error(400, (asked_.chat ? "messages: " : "prompt: ") + std::string(why.what()),
                        asked_.chat ? "messages" : "prompt");
  }
  const auto room = model_.defaults.max_context;
  for (const auto& one : prompts_) {
    if (one.empty())
      throw request_error(400, "prompt: found no tokens, want at least one", "prompt");
    if (static_cast<std::int64_t>(one.size()) >= room)
      throw request_error(400,
                          "found a prompt of " + std::to_string(one.size()) + " tokens, want fewer than the context's "
                              + std::to_string(room),
                          asked_.chat ? "messages" : "prompt");
    counts_.prompt += static_cast<std::int64_t>(one.size());
  }
  open_ = prompts_.size() * static_cast<std::size_t>(asked_.answers);
  for (std::size_t i = 0; i < open_; ++i)
    choices_.push_back({stop_guard(model_.tok, asked_.how.stop), {.index = i}, 0});
  const auto seed = asked_.seed ? *asked_.seed : std::uint64_t{std::random_device{}()};
  for (std::size_t p = 0; p < prompts_.size(); ++p) {
    const auto group =
        from_.begin({.prompt = prompts_[p], .answers = asked_.answers, .seed = seed + p, .how = asked_.how},
                    [weak = weak_from_this(), on_thread = out_.on_thread, p](const news& what) {
                      on_thread([weak, p, what] {
                        if (const auto self = weak.lock())
                          self->take(p, what);
                      });
                    });
    if (group == 0)
      throw request_error(429, "as many requests wait as may wait; try again");
    groups_.push_back(group);
  }
}

void answering::take(std::size_t of_prompt, const news& what) {
  if (open_ == 0)
    return;
  if (!what.failure.empty()) {
    open_ = 0;
    for (const auto group : groups_)
      from_.cancel(group);
    return begun_ ? out_.end() : out_.refused(request_error(what.status, what.failure));
  }
  const auto first = of_prompt * static_cast<std::size_t>(asked_.answers);
  for (const auto& token : what.tokens)
    take(choices_[first + static_cast<std::size_t>(token.answer)], token);
  if (open_ == 0)
    finish();
}

void answering::take(choice& of, const rollout::drawn_token& token) {
  auto& piece = of.so_far;
  ++counts_.completion;
  piece.tokens.push_back(token.token);
  piece.logprobs.push_back(token.logprob);
  if (asked_.logprobs)
    piece.token_texts.emplace_back(model_.tok->bytes(token.token));
  piece.text += of.guard.push(token.token);
  if (token.end)
    end(of, *token.end);
  if (asked_.stream)
    send(of);
}

void answering::end(choice& of, rollout::finish_reason how) {
  auto& piece = of.so_far;
  piece.text += of.guard.finish(how == rollout::finish_reason::stop);
  piece.end = how;
  --open_;
  if (asked_.tools.empty())
    return;
  auto turn = model_.defaults.chat->calls_in(piece.text);
  if (std::any_of(turn.calls.begin(), turn.calls.end(), [](const tool_call& call) { return !call.error.empty(); }))
    return; // it stays text
  piece.text = std::move(turn.content);
  piece.calls = std::move(turn.calls);
}

/// Where tools are offered, all of the answer waits for its end: its text may be a call. A piece without text waits for
/// the next, unless somebody wants its tokens.
void answering::send(choice& of) {
  auto& piece = of.so_far;
  if (!piece.end && (!asked_.tools.empty() || (piece.text.empty() && !asked_.logprobs && !asked_.token_ids)))
    return;
  if (asked_.chat && of.tokens == 0)
    out_.piece(text_.opening(piece.index, prompts_.front()));
  begun_ = true;
  of.tokens += piece.tokens.size();
  out_.piece(text_.event(piece));
  piece = {.index = piece.index, .text_offset = piece.text_offset + text::characters_in(piece.text)};
}

void answering::finish() {
  if (asked_.stream) {
    if (asked_.with_usage)
      out_.piece(text_.usage_event(counts_));
    out_.piece(openai::end_of_stream);
    return out_.end();
  }
  std::vector<openai::choice_piece> pieces;
  for (auto& one : choices_)
    pieces.push_back(std::move(one.so_far));
  out_.whole(text_.whole(pieces, counts_, prompts_));
}

} // namespace millrace::endpoint
