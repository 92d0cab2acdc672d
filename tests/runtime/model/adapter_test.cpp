#include "kernels/low_rank_sum.hpp"
#include "runtime/formats/safetensors.hpp"
#include "runtime/model/adapter.hpp"
#include "runtime/model/checkpoint.hpp"
#include "runtime/model/float_tensor.hpp"
#include "runtime/model/training_operations.hpp"
#include "runtime/words/input_error.hpp"
#include "tests/support/temporary_folder.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <fstream>

namespace adapter_test {

using namespace millrace;
using namespace millrace::model;

namespace {

const std::filesystem::path golden = "tests/golden/models/adapter";

const checkpoint& base() {
  static const auto loaded = load_checkpoint("tests/golden/models/tiny-chat");
  return loaded;
}

at::Tensor last_logits(const decoder& model, const std::vector<std::int64_t>& tokens) {
  const auto packed = pack_sequence(at::tensor(tokens, at::kLong));
  training_operations ops(packed.groups);
  const at::NoGradGuard no_grad;
  const at::Tensor hidden = model.hidden(ops, packed.tokens, packed.positions);
  return hidden[-1].matmul(model.head().weight.t());
}

/// Halves of random numbers, so that both have gradients.
adapter random_adapter(std::string_view targets, at::ScalarType type = at::kFloat) {
  auto a = new_adapter(base().parameters, 3, 5, targets, 1);
  at::manual_seed(2);
  for (auto& parameter : a.parameters)
    parameter.tensor = at::randn_like(parameter.tensor).mul_(0.2).to(type);
  return a;
}

void write(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path) << text;
}

} // namespace

TEST_CASE("an adapter that PEFT wrote gives PEFT's logits, beside the base and merged into it") {
  const auto stored = load_adapter(golden);
  CHECK(stored.rank == 4);
  CHECK(stored.alpha == 6);
  const auto want = nlohmann::json::parse(std::ifstream(golden / "golden.json"));
  const at::Tensor logits = at::tensor(want.at("logits").get<std::vector<double>>(), at::kDouble);
  const auto tokens = want.at("tokens").get<std::vector<std::int64_t>>();
  decoder beside(base().config, base().parameters);
  CHECK((last_logits(beside, tokens) - logits).abs().max().item<double>() > 0.05); // the base alone says something else
  adapt(beside, stored);
  CHECK((last_logits(beside, tokens) - logits).abs().max().item<double>() < 2e-5);
  const decoder one(base().config, merged(base().parameters, stored));
  CHECK((last_logits(one, tokens) - logits).abs().max().item<double>() < 2e-5);
}

TEST_CASE("what is written is read back bit for bit, with PEFT's names") {
  const tests::temporary_folder folder;
  auto a = random_adapter("(q|v)_proj$");
  a.base_path = "somewhere";
  write_adapter_files(folder.path(), a, base().parameters);
  const auto again = load_adapter(folder.path());
  CHECK(again.rank == 3);
  CHECK(again.alpha == 5);
  CHECK(again.base_path == "somewhere");
  REQUIRE(again.parameters.size() == a.parameters.size());
  for (std::size_t i = 0; i < a.parameters.size(); ++i) {
    CHECK(again.parameters[i].name == a.parameters[i].name);
    CHECK(at::equal(again.parameters[i].tensor, a.parameters[i].tensor));
  }
  const auto config = nlohmann::json::parse(std::ifstream(folder.path() / "adapter_config.json"));
  CHECK(config.at("target_modules") == nlohmann::json({"q_proj", "v_proj"}));
  CHECK(formats::safetensors_file(folder.path() / "adapter_model.safetensors")
            .find("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"));
  // Layers that their last names do not tell are named whole.
  const tests::temporary_folder some;
  write_adapter_files(some.path(), random_adapter("layers\\.1\\.mlp\\.up_proj"), base().parameters);
  CHECK(nlohmann::json::parse(std::ifstream(some.path() / "adapter_config.json")).at("target_modules")
        == nlohmann::json({"model.layers.1.mlp.up_proj"}));
}

TEST_CASE("a new adapter changes nothing; the same seed draws the same") {
  const auto a = new_adapter(base().parameters, 2, 4, ".", 7), b = new_adapter(base().parameters, 2, 4, ".", 7);
  CHECK(a.parameters.size() == 2 * 7 * 2); // two layers of seven, two halves each
  for (std::size_t i = 0; i < a.parameters.size(); ++i)
    CHECK(at::equal(a.parameters[i].tensor, b.parameters[i].tensor));
  const auto same = merged(base().parameters, a);
  for (std::size_t i = 0; i < same.size(); ++i)
    CHECK(at::equal(same[i].tensor, base().parameters[i].tensor));
}

TEST_CASE("merged: by LibTorch's operations, as on a GPU, the bits are the kernel's; a base in bfloat16 has them too") {
  at::manual_seed(4);
  for (const std::int64_t rank : {1, 3, 8}) {
    const at::Tensor w = at::randn({37, 65}), b = at::randn({37, rank}), a = at::randn({rank, 65});
    at::Tensor want = at::empty_like(w);
    kernels::low_rank_sum({.w = w.const_data_ptr<float>(),
                           .b = b.const_data_ptr<float>(),
                           .a = a.const_data_ptr<float>(),
                           .y = want.mutable_data_ptr<float>(),
                           .rows = 37,
                           .columns = 65,
                           .rank = rank});
    CHECK(at::equal(low_rank_sum(w, b, a), want));
  }
  const auto a = random_adapter("(q|v)_proj$");
  const auto rounded = in_precision(base().parameters, precision::bfloat16);
  const auto now = merged(rounded, a), want = merged(in_precision(rounded, precision::float32), a);
  std::size_t with_adapter = 0;
  for (std::size_t i = 0; i < now.size(); ++i) {
    CHECK(at::equal(widened(now[i].tensor), want[i].tensor));
    with_adapter += now[i].tensor.scalar_type() == at::kFloat ? 1 : 0;
  }
  CHECK(with_adapter == 4); // two layers of two
}

TEST_CASE("merged: half the scale of twice B is the same, and what does not fit the base is named") {
  auto a = random_adapter("q_proj$");
  auto doubled = a;
  doubled.alpha /= 2;
  for (auto& half : doubled.parameters)
    if (half.name.ends_with("lora_B.weight"))
      half.tensor = half.tensor * 2;
  const auto once = merged(base().parameters, a), again = merged(base().parameters, doubled);
  for (std::size_t i = 0; i < once.size(); ++i)
    CHECK(at::equal(once[i].tensor, again[i].tensor));
  const auto why = [](const adapter& wrong) {
    try {
      merged(base().parameters, wrong);
    } catch (const input_error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  const std::string layer = "model.layers.0.self_attn.q_proj";
  auto elsewhere = a, wide = a, half = a;
  elsewhere.parameters[0].name = "model.layers.9.self_attn.q_proj.lora_A.weight";
  elsewhere.parameters[1].name = "model.layers.9.self_attn.q_proj.lora_B.weight";
  CHECK(why(elsewhere) == "adapter of 'model.layers.9.self_attn.q_proj': the base has no linear layer of that name");
  wide.parameters[0].tensor = at::zeros({3, 5});
  CHECK(why(wide).starts_with("adapter of '" + layer + "': its halves are [3, 5] and ["));
  half.parameters.erase(half.parameters.begin());
  CHECK(why(half).starts_with("adapter of '" + layer + "': its halves are missing and ["));
}

TEST_CASE("gradients of the halves are those of finite differences, and the base has none") {
  weights doubles;
  for (const auto& [name, tensor] : base().parameters)
    doubles.push_back({name, tensor.to(at::kDouble)});
  decoder model(base().config, doubles);
  auto a = random_adapter("layers\\.1\\.(self_attn\\.(q|o)|mlp\\.down)_proj", at::kDouble);
  for (auto& parameter : a.parameters)
    parameter.tensor.requires_grad_();
  adapt(model, a);
  const auto packed = pack_sequence(at::tensor({3, 14, 15, 9, 2}, at::kLong));
  const at::Tensor weight = at::randn({5, base().config.hidden_size}, at::kDouble);
  const auto loss = [&] {
    training_operations ops(packed.groups);
    return (model.hidden(ops, packed.tokens, packed.positions) * weight).sum();
  };
  loss().backward();
  const double step = 1e-5;
  for (const auto& parameter : a.parameters) {
    CAPTURE(parameter.name);
    for (const std::int64_t i : {std::int64_t{0}, parameter.tensor.numel() / 2, parameter.tensor.numel() - 1}) {
      const at::NoGradGuard no_grad;
      at::Tensor entry = parameter.tensor.view(-1)[i];
      entry += step;
      const double above = loss().item<double>();
      entry -= 2 * step;
      const double below = loss().item<double>();
      entry += step;
      CHECK(parameter.tensor.grad().view(-1)[i].item<double>()
            == doctest::Approx((above - below) / (2 * step)).epsilon(1e-6));
    }
  }
  for (const auto& parameter : model.parameters())
    CHECK_FALSE(parameter.tensor.requires_grad());
}

TEST_CASE("what is not plain LoRA, or does not fit, is refused by name") {
  const tests::temporary_folder folder;
  const auto why = [&](const std::string& config) -> std::string {
    write(folder.path() / "adapter_config.json", config);
    try {
      load_adapter(folder.path());
    } catch (const input_error& error) {
      return error.what();
    }
    return "";
  };
  CHECK(why("{").find("adapter_config.json:1:1: not JSON") != std::string::npos);
  CHECK(why(R"({"peft_type": "LOHA"})").find("found peft_type \"LOHA\", want plain LoRA") != std::string::npos);
  CHECK(why(R"({"peft_type": "LORA", "use_dora": true})").find("found use_dora true") != std::string::npos);
  CHECK(why(R"({"peft_type": "LORA", "r": 0, "lora_alpha": 2})").find("found r 0") != std::string::npos);
  CHECK(why(R"({"peft_type": "LORA", "r": 2, "lora_alpha": 2, "rank_pattern": {"q": 3}})").find("rank_pattern")
        != std::string::npos);
  CHECK(why(R"({"peft_type": "LORA", "r": 2, "lora_alpha": 2})").find("adapter_model.safetensors")
        != std::string::npos);
  CHECK_THROWS_WITH_AS(new_adapter(base().parameters, 2, 2, "lm_head", 1), doctest::Contains("matches no linear layer"),
                       input_error);
  CHECK_THROWS_WITH_AS(new_adapter(base().parameters, 2, 2, "(", 1), doctest::Contains("want a regular expression"),
                       input_error);
  decoder model(base().config, base().parameters);
  auto odd = random_adapter("q_proj");
  odd.parameters[0].name = "model.layers.9.self_attn.q_proj.lora_A.weight";
  odd.parameters[1].name = "model.layers.9.self_attn.q_proj.lora_B.weight";
  CHECK_THROWS_WITH_AS(adapt(model, odd), doctest::Contains("no linear layer of that name"), input_error);
}

TEST_CASE("a switch of PEFT that is on is refused, whether it is known or not") {
  const auto whole = nlohmann::json::parse(std::ifstream(golden / "adapter_config.json"));
  const tests::temporary_folder folder;
  std::filesystem::copy_file(golden / "adapter_model.safetensors", folder / "adapter_model.safetensors");
  const auto refusal = [&](const std::string& key, const nlohmann::json& value) -> std::string {
    auto changed = whole;
    changed[key] = value;
    write(folder / "adapter_config.json", changed.dump());
    try {
      load_adapter(folder.path());
    } catch (const input_error& error) {
      return error.what();
    }
    return "";
  };
  const auto line = [](const std::string& found) {
    return "adapter_config.json: found " + found + ", want plain LoRA";
  };
  CHECK(refusal("alora_invocation_tokens", {5, 6}).ends_with(line("alora_invocation_tokens [5,6]")));
  CHECK(refusal("use_qalora", true).ends_with(line("use_qalora true")));
  CHECK(refusal("use_rslora", true).ends_with(line("use_rslora true")));
  CHECK(refusal("layer_replication", {{0, 2}}).ends_with(line("layer_replication [[0,2]]")));
  CHECK(refusal("target_parameters", {"mlp.w"}).ends_with(line("target_parameters [\"mlp.w\"]")));
  CHECK(refusal("trainable_token_indices", {1}).ends_with(line("trainable_token_indices [1]")));
  CHECK(refusal("bias", "all").ends_with(line("bias \"all\"")));
  CHECK(refusal("init_lora_weights", "pissa_niter_4").ends_with(line("init_lora_weights \"pissa_niter_4\"")));
  CHECK(refusal("use_what_comes_next", true).ends_with(line("use_what_comes_next true")));
  CHECK(refusal("scale_what_comes_next", 2).ends_with(line("scale_what_comes_next 2")));
  const nlohmann::json harmless{{"init_lora_weights", "gaussian"},
                                {"use_what_comes_next", false},
                                {"what_comes_next", nullptr},
                                {"patterns_to_come", nlohmann::json::object()},
                                {"lora_dropout", 0.1},
                                {"loftq_config", {{"loftq_bits", 4}}},
                                {"runtime_config", {{"ephemeral_gpu_offload", false}}}};
  for (const auto& [key, value] : harmless.items())
    CHECK(refusal(key, value) == "");
}

} // namespace adapter_test
