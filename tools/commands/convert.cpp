#include "runtime/model/checkpoint.hpp"
#include "runtime/model/decoder.hpp"
#include "tools/command.hpp"

#include <cstdio>
#include <map>
#include <memory>

namespace millrace::tools {

command add_convert(CLI::App& root) {
  struct arguments {
    std::string in, out;
    model::saved_dtype dtype = model::saved_dtype::float32;
  };
  const auto given = std::make_shared<arguments>();
  auto* app = root.add_subcommand("convert", "Write a GGUF file or a Hugging Face folder as a Hugging Face folder");
  app->add_option("IN", given->in, "a .gguf file or a folder with config.json")->required();
  app->add_option("OUT", given->out, "the folder to make; it must not hold anything yet")->required();
  const std::map<std::string, model::saved_dtype> kinds{{"float32", model::saved_dtype::float32},
                                                        {"bfloat16", model::saved_dtype::bfloat16}};
  app->add_option("--dtype", given->dtype, "what the weights are stored as: float32 or bfloat16")
      ->transform(CLI::CheckedTransformer(kinds))
      ->default_str("float32");
  return [given] {
    const auto checkpoint = model::load_checkpoint(given->in, {.score_head = true});
    const model::decoder checked(checkpoint.config, checkpoint.parameters);
    model::save_checkpoint(given->out, checkpoint, {given->dtype});
    std::int64_t elements = 0;
    for (const auto& parameter : checked.parameters())
      elements += parameter.tensor.numel();
    std::fprintf(stderr, "%s: %zu tensors, %.1f M parameters\n", given->out.c_str(), checked.parameters().size(),
                 static_cast<double>(elements) / 1e6);
    return 0;
  };
}

} // namespace millrace::tools
