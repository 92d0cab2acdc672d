#include "runtime/model/checkpoint.hpp"
#include "runtime/model/decoder.hpp"
#include "tools/command.hpp"

#include <cstdio>
#include <memory>

namespace millrace::tools {

namespace {

struct convert_arguments {
  std::string in, out;
  int dtype = static_cast<int>(precision::float32);
};

int run_convert(const convert_arguments& given) {
  const auto checkpoint = model::load_checkpoint(given.in, {.score_head = true});
  const model::decoder checked(checkpoint.config, checkpoint.parameters);
  model::save_checkpoint(given.out, checkpoint, {static_cast<precision>(given.dtype)});
  std::int64_t elements = 0;
  for (const auto& parameter : checked.parameters())
    elements += parameter.tensor.numel();
  std::fprintf(stderr, "%s: %zu tensors, %.1f M parameters\n", given.out.c_str(), checked.parameters().size(),
               static_cast<double>(elements) / 1e6);
  return 0;
}

} // namespace

command convert_command() {
  const auto given = std::make_shared<convert_arguments>();
  return {.name = "convert",
          .help = "Write a GGUF file or a Hugging Face folder as a Hugging Face folder",
          .arguments =
              {{.name = "IN", .to = &given->in, .help = "a .gguf file or a folder with config.json", .required = true},
               {.name = "OUT",
                .to = &given->out,
                .help = "the folder to make; it must not hold anything yet",
                .required = true},
               {.name = "--dtype",
                .to = &given->dtype,
                .help = "what the weights are stored as: float32 or bfloat16",
                .words = {{"float32", static_cast<int>(precision::float32)},
                          {"bfloat16", static_cast<int>(precision::bfloat16)}}}},
          .run = [given] { return run_convert(*given); }};
}

} // namespace millrace::tools
