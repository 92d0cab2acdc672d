#include "runtime/roles/role_model.hpp"

#include "runtime/pipeline/located.hpp"
#include "runtime/train/trainable.hpp"
#include "runtime/words/input_error.hpp"

#include <map>

namespace millrace::roles {
namespace {

model::checkpoint load_named(const pipeline::pipeline& p, const std::string& name, model::load_options what) {
  const auto& table = p.models.at(name);
  auto loaded = model::load_checkpoint(table.path, what);
  if (!loaded.tok)
    throw input_error(table.path.string() + ": holds no tokenizer");
  if (!table.chat_template.empty())
    model::use_chat_template(loaded, table.chat_template);
  return loaded;
}

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

model::checkpoint load_model(const pipeline::pipeline& p, const std::string& name, precision kept) {
  return load_named(p, name, {.weights = true, .kept = kept});
}

model::checkpoint load_text_model(const pipeline::pipeline& p, const std::string& name) {
  auto loaded = load_named(p, name, {.weights = false});
  model::chat_of(loaded);
  return loaded;
}

at::Device device_for(const pipeline::pipeline& p, const pipeline::role& role) {
  return train::device_named(pipeline::device_of(p, role), pipeline::device_key(role));
}

at::Device device_for(const pipeline::pipeline& p, const pipeline::role& role, const std::string& kept,
                      const std::string& path) {
  const auto& named = pipeline::device_of(p, role);
  const auto key = pipeline::device_key(role);
  const auto device = device_for(p, role);
  if (!device.is_cpu() && kept != word(precision::float32))
    throw pipeline::pipeline_errors({p.mistake_at(
        path, path + ": found \"" + kept + "\" and " + key + " = \"" + named
                  + "\" finds a GPU, which keeps float32 alone; want \"float32\" or " + key + " = \"cpu\"")});
  return device;
}

at::Device device_for(const pipeline::pipeline& p, const pipeline::role& role, const std::string& model) {
  return device_for(p, role, word(p.models.at(model).dtype), "models." + model + ".dtype");
}

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
