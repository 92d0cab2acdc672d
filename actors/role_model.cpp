#include "actors/role_model.hpp"

#include "runtime/input_error.hpp"

namespace millrace::actors {

model::checkpoint load_model(const pipeline::pipeline& p, const std::string& name, bool weights) {
  const auto& table = p.models.at(name);
  auto loaded = model::load_checkpoint(table.path, {weights});
  if (!loaded.tok)
    throw input_error(table.path.string() + ": holds no tokenizer");
  if (!table.chat_template.empty())
    loaded.chat = model::named_chat_template(table.chat_template);
  return loaded;
}

} // namespace millrace::actors
