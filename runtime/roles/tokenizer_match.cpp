#include "runtime/roles/tokenizer_match.hpp"

#include "runtime/words/input_error.hpp"

#include <map>
#include <string>

namespace millrace::roles {
namespace {

std::map<std::int32_t, std::string> words_of(const text::tokenizer_data& data) {
  std::map<std::int32_t, std::string> words;
  for (std::size_t id = 0; id < data.vocabulary.size(); ++id)
    if (!data.vocabulary[id].empty())
      words[static_cast<std::int32_t>(id)] = data.vocabulary[id];
  for (const auto& token : data.added)
    words[token.id] = token.content;
  return words;
}

} // namespace

bool same_tokens(const text::tokenizer& a, const text::tokenizer& b) {
  return words_of(a.data()) == words_of(b.data());
}

std::shared_ptr<const text::tokenizer> flowing_tokenizer(const pipeline::pipeline& p) {
  const auto& path = p.models.at(std::get<pipeline::policy_table>(p.policy().options).model).path;
  auto words = model::load_checkpoint(path, {.weights = false}).tok;
  if (!words)
    throw input_error(path.string() + ": holds no tokenizer");
  return words;
}

void check_same_tokens(const pipeline::pipeline& p, const model::checkpoint& model) {
  const auto words = flowing_tokenizer(p);
  if (!model.tok ? words->size() > model.config.vocab_size : !same_tokens(*words, *model.tok))
    throw input_error(
        model.origin
        + ": has another tokenizer than the policy's model, want the same: it reads the policy's token ids");
}

} // namespace millrace::roles
