// Every logit of one text, for tests/golden/compare_logits.py: raw floats [tokens, vocab] into a file.
//
//   model_logits MODEL --tokens FILE --out FILE [--path kernels|training|double] [--threads N]
//
// FILE holds token ids between blanks. `kernels` is what generation and scoring compute with, `training` the learner's
// arithmetic, `double` the same in float64.

#include "runtime/model/checkpoint.hpp"
#include "runtime/model/inference_operations.hpp"
#include "runtime/model/matrix_product.hpp"
#include "runtime/model/training_operations.hpp"
#include "tools/command_line.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>

#include <cstdio>
#include <fstream>
#include <iterator>
#include <numeric>
#include <stdexcept>

namespace {

using namespace millrace;

at::Tensor by_kernels(const model::checkpoint& found, const std::vector<std::int32_t>& tokens, int threads) {
  model::decoder policy(found.config, found.parameters);
  policy.pack();
  const auto pool = model::kv_pool::make(found.config, at::kCPU);
  model::kv_sequence sequence(pool);
  sequence.grow(static_cast<std::int64_t>(tokens.size()));
  std::vector<model::inference_row> rows;
  for (const auto token : tokens)
    rows.push_back({token, &sequence, static_cast<std::int64_t>(rows.size())});
  kernels::thread_team team(threads);
  model::inference_operations ops(team);
  std::vector<std::int64_t> all(rows.size());
  std::iota(all.begin(), all.end(), 0);
  return ops.logits(policy, ops.forward(policy, rows), all);
}

at::Tensor by_training(const model::checkpoint& found, const std::vector<std::int32_t>& tokens, at::ScalarType type) {
  const c10::NoGradGuard no_grad;
  model::weights parameters;
  for (const auto& parameter : found.parameters)
    parameters.push_back({parameter.name, parameter.tensor.to(type)});
  const model::decoder policy(found.config, parameters);
  const auto packed = model::pack_sequence(at::tensor(at::ArrayRef<std::int32_t>(tokens)).to(at::kLong));
  model::training_operations ops(packed.groups);
  const at::Tensor hidden = policy.hidden(ops, packed.tokens, packed.positions);
  return model::product_transposed(hidden, policy.head().weight).to(at::kFloat);
}

struct logits_arguments {
  std::string folder, tokens_file, out_file, path = "kernels";
  int threads = 2;
};

int write_logits(const logits_arguments& given) {
  const auto& [folder, tokens_file, out_file, path, threads] = given;
  try {
    at::set_num_threads(threads);
    std::ifstream in(tokens_file);
    const std::vector<std::int32_t> tokens{std::istream_iterator<std::int32_t>(in), {}};
    const auto found = model::load_checkpoint(folder);
    const at::Tensor logits = path == "kernels"    ? by_kernels(found, tokens, threads)
                              : path == "training" ? by_training(found, tokens, at::kFloat)
                                                   : by_training(found, tokens, at::kDouble);
    std::ofstream out(out_file, std::ios::binary);
    out.write(static_cast<const char*>(logits.contiguous().data_ptr()), logits.numel() * 4);
    if (!out.flush())
      throw std::runtime_error(out_file + ": cannot write");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "model_logits: %s\n", error.what());
    return 1;
  }
  return 0;
}

} // namespace

int main(int count, char** words) {
  logits_arguments given;
  const tools::command only{
      .name = "model_logits",
      .help = "Every logit of one text",
      .arguments =
          {{.name = "model", .to = &given.folder, .help = "Hugging Face folder or .gguf file", .required = true},
           {.name = "--tokens", .to = &given.tokens_file, .help = "Token ids between blanks", .required = true},
           {.name = "--out", .to = &given.out_file, .help = "Receives raw floats, [tokens, vocab]", .required = true},
           {.name = "--path",
            .to = &given.path,
            .help = "Whose arithmetic",
            .one_of = {"kernels", "training", "double"}},
           {.name = "--threads", .to = &given.threads, .help = "Threads to compute with"}},
      .run = [&given] { return write_logits(given); }};
  return tools::run_program(only, count, words);
}
