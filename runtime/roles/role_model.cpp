#include "runtime/roles/role_model.hpp"

#include "runtime/pipeline/located.hpp"
#include "runtime/train/trainable.hpp"

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

model::checkpoint load_model(const pipeline::pipeline& p, const std::string& name, precision kept) {
  return load_named(p, name, {.weights = true, .kept = kept});
}

model::checkpoint load_text_model(const pipeline::pipeline& p, const std::string& name) {
  auto loaded = load_named(p, name, {.weights = false});
  model::chat_of(loaded);
  return loaded;
}

at::Device device_for(const pipeline::pipeline& p, const std::string& kept, const std::string& path) {
  const auto device = train::device_named(p.run.device);
  if (!device.is_cpu() && kept != word(precision::float32))
    throw pipeline::pipeline_errors(
        {p.mistake_at(path, path + ": found \"" + kept + "\" and run.device = \"" + p.run.device
                                + "\" finds a GPU, which keeps float32 alone; want "
                                  "\"float32\" or run.device = \"cpu\"")});
  return device;
}

at::Device device_for(const pipeline::pipeline& p, const std::string& model) {
  return device_for(p, word(p.models.at(model).dtype), "models." + model + ".dtype");
}

} // namespace millrace::roles
