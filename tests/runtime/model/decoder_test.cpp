#include "kernels/thread_team.hpp"
#include "runtime/model/decoder.hpp"
#include "runtime/model/gguf_model.hpp"
#include "runtime/model/hf_folder.hpp"
#include "runtime/model/inference_operations.hpp"
#include "runtime/model/kv_cache.hpp"
#include "runtime/model/training_operations.hpp"
#include "runtime/words/input_error.hpp"
#include "tests/runtime/model/random_decoder.hpp"
#include "tests/support/temporary_folder.hpp"

#include <ATen/ATen.h>
#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <functional>
#include <limits>
#include <numeric>

namespace decoder_test {

namespace {

using namespace millrace;

/// The bound that the whole project promises against transformers in fp32.
constexpr double tolerance = 1e-4;

const std::string models = "tests/golden/models/";

nlohmann::json golden_of(const std::string& name) {
  return nlohmann::json::parse(tests::read_file(models + name + "/golden.json"));
}

at::Tensor rows_of(const nlohmann::json& rows) {
  std::vector<float> values;
  for (const auto& row : rows)
    for (const auto& value : row)
      values.push_back(value.get<float>());
  const auto count = static_cast<std::int64_t>(rows.size());
  return at::tensor(values).view({count, static_cast<std::int64_t>(values.size()) / count});
}

at::Tensor training_logits(const model::decoder& decoder, const at::Tensor& tokens, const at::Tensor& positions) {
  model::training_operations ops(model::pack_sequence(tokens).groups);
  return decoder.hidden(ops, tokens, positions).matmul(decoder.head().weight.t());
}

double difference(const at::Tensor& a, const at::Tensor& b) {
  REQUIRE(a.sizes() == b.sizes());
  return (a - b).abs().max().item<double>();
}

void check_training_logits(const model::checkpoint& loaded, const nlohmann::json& golden) {
  const model::decoder decoder(loaded.config, loaded.parameters);
  const at::Tensor tokens = at::tensor(golden["tokens"].get<std::vector<std::int64_t>>());
  const at::Tensor positions = at::arange(tokens.size(0));
  CHECK(difference(training_logits(decoder, tokens, positions), rows_of(golden["logits"])) < tolerance);
  // Far apart, where a wrong rotary scaling shows.
  const at::Tensor want = rows_of(golden["spread_logits"]);
  const at::Tensor found = training_logits(decoder, tokens, positions * golden["spread"].get<std::int64_t>());
  CHECK(difference(found.slice(0, found.size(0) - want.size(0)), want) < tolerance);
}

std::string error_of(const model::model_config& config, const model::weights& parameters) {
  try {
    model::decoder decoder(config, parameters);
  } catch (const input_error& error) {
    return error.what();
  }
  return "";
}

} // namespace

TEST_CASE("decoder: logits of every family equal transformers' (differentiable operations)") {
  for (const char* name : {"llama3", "llama_sharded", "qwen2", "qwen3"}) {
    CAPTURE(name);
    check_training_logits(model::load_hf_folder(models + name, {}), golden_of(name));
  }
}

TEST_CASE("decoder: a GGUF of the same weights gives the same logits") {
  for (const char* name : {"llama3", "qwen2"}) {
    CAPTURE(name);
    check_training_logits(model::load_gguf(models + "gguf/" + name + ".gguf", {}), golden_of(name));
  }
}

TEST_CASE("decoder: logits of every family equal transformers' (inference kernels)") {
  for (const char* name : {"llama3", "llama_sharded", "qwen2", "qwen3"}) {
    CAPTURE(name);
    const auto golden = golden_of(name);
    const auto loaded = model::load_hf_folder(models + name, {});
    model::decoder decoder(loaded.config, loaded.parameters);
    decoder.pack();
    kernels::thread_team team(2);
    model::inference_operations ops(team);
    model::kv_sequence sequence(model::kv_pool::make(loaded.config));
    const auto tokens = golden["tokens"].get<std::vector<std::int32_t>>();
    sequence.grow(static_cast<std::int64_t>(tokens.size()));
    std::vector<model::inference_row> rows;
    for (std::size_t i = 0; i < tokens.size(); ++i)
      rows.push_back({tokens[i], &sequence, static_cast<std::int64_t>(i)});
    std::vector<std::int64_t> all(rows.size());
    std::iota(all.begin(), all.end(), 0);
    const at::Tensor logits = ops.logits(decoder, ops.forward(decoder, rows), all);
    CHECK(difference(logits, rows_of(golden["logits"])) < tolerance);
  }
}

TEST_CASE("decoder: parameters that do not fit are named") {
  const auto config = tests::tiny_config("llama");
  const auto parameters = tests::random_weights(config, 1, at::kFloat, false);
  const auto changed = [&](const char* name, const std::function<void(model::weights&, std::size_t)>& change) {
    model::weights copy = parameters;
    for (auto& p : copy)
      p.tensor = p.tensor.clone();
    for (std::size_t i = 0; i < copy.size(); ++i)
      if (copy[i].name == name) {
        change(copy, i);
        break;
      }
    return error_of(config, copy);
  };
  const char* gate = "model.layers.1.mlp.gate_proj.weight";
  CHECK(error_of(config, parameters).empty());
  CHECK(changed(gate, [](auto& w, auto i) { w.erase(w.begin() + static_cast<std::ptrdiff_t>(i)); })
        == "parameter 'model.layers.1.mlp.gate_proj.weight': missing, want shape [48, 32]");
  CHECK(changed(gate, [](auto& w, auto i) { w[i].tensor = w[i].tensor.t(); })
        == "parameter 'model.layers.1.mlp.gate_proj.weight': shape [32, 48], want [48, 32]");
  CHECK(changed(gate,
                [](auto& w, auto i) {
                  w.push_back({"model.layers.2.mlp.gate_proj.weight", w[i].tensor});
                })
        == "parameter 'model.layers.2.mlp.gate_proj.weight': this architecture has none of that name");
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()})
    CHECK(changed(gate, [&](auto& w, auto i) { w[i].tensor[3][5] = bad; })
          == "parameter 'model.layers.1.mlp.gate_proj.weight': holds NaN or infinity");
}

TEST_CASE("decoder: weights near the end of fp32 are finite") {
  const auto config = tests::tiny_config("llama");
  auto parameters = tests::random_weights(config, 1, at::kFloat, false);
  for (auto& p : parameters)
    if (p.name == "lm_head.weight")
      p.tensor.fill_(std::numeric_limits<float>::max());
  CHECK(error_of(config, parameters).empty());
}

} // namespace decoder_test
