#include "runtime/roles/role_model.hpp"

#include "runtime/words/input_error.hpp"

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

} // namespace

model::checkpoint load_model(const pipeline::pipeline& p, const std::string& name) {
  return load_named(p, name, {.weights = true});
}

model::checkpoint load_text_model(const pipeline::pipeline& p, const std::string& name) {
  auto loaded = load_named(p, name, {.weights = false});
  model::chat_of(loaded);
  return loaded;
}

} // namespace millrace::roles
