#include "runtime/model/config_json.hpp"
#include "runtime/model/float_tensor.hpp"
#include "runtime/model/inference_decoder.hpp"
#include "runtime/model/packed_sequences.hpp"
#include "runtime/model/score_head.hpp"
#include "runtime/model/training_operations.hpp"
#include "runtime/words/input_error.hpp"
#include "tests/runtime/model/random_decoder.hpp"
#include "tests/support/temporary_folder.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <cmath>

namespace score_head_test {

using namespace millrace;

namespace {

using tokens = std::vector<std::int32_t>;

const std::string models = "tests/golden/models/";
constexpr double tolerance = 1e-5; ///< fp32, one layer, numbers around 1

nlohmann::json golden_of(const std::string& name) {
  return nlohmann::json::parse(tests::read_file(models + name + "/golden.json"));
}

model::decoder scoring(const model::checkpoint& loaded) {
  return {loaded.config, loaded.parameters};
}

/// Scores and token scores of the golden texts, each cut into a prompt and an answer at `cut`.
void check_golden(const model::checkpoint& loaded, const nlohmann::json& golden, std::size_t cut) {
  const auto decoder = scoring(loaded);
  for (std::size_t t = 0; t < golden["texts"].size(); ++t) {
    const auto text = golden["texts"][t].get<tokens>();
    const auto of_token = golden["token_scores"][t].get<std::vector<double>>();
    const auto split = text.begin() + static_cast<std::ptrdiff_t>(cut);
    const tokens prompt(text.begin(), split);
    const std::vector<tokens> answers{tokens(split, text.end())};
    CHECK(std::abs(model::answer_scores(decoder, prompt, answers).at(0) - golden["scores"][t].get<double>())
          < tolerance);
    const auto values = model::answer_values(decoder, prompt, answers);
    REQUIRE(values.size() == text.size() - cut);
    for (std::size_t i = 0; i < values.size(); ++i) // the value before token i is read at token i - 1
      CHECK(std::abs(values[i] - of_token[cut + i - 1]) < tolerance);
  }
}

std::string error_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "no error";
}

} // namespace

TEST_CASE(
    "score head: where the padding is the end token, the score is read before the end tokens, as transformers does") {
  for (const char* name : {"score_llama", "score_qwen2", "score_qwen3"}) {
    CAPTURE(name);
    auto loaded = model::load_checkpoint(models + name, {.score_head = true});
    loaded.config.pad_id = 2;
    const auto decoder = scoring(loaded);
    const auto ended = golden_of(name)["ended"];
    for (std::size_t t = 0; t < ended["texts"].size(); ++t) {
      const auto text = ended["texts"][t].get<tokens>();
      for (std::size_t cut = 1; cut <= text.size(); ++cut) { // whichever part of it is the prompt
        const auto split = text.begin() + static_cast<std::ptrdiff_t>(cut);
        const std::vector<tokens> answers{tokens(split, text.end()), {9, 4}, tokens(split, text.end())};
        const auto found = model::answer_scores(decoder, tokens(text.begin(), split), answers);
        CHECK(std::abs(found.at(0) - ended["scores"][t].get<double>()) < tolerance);
        CHECK(std::abs(found.at(2) - ended["scores"][t].get<double>()) < tolerance);
      }
    }
  }
}

TEST_CASE("score head: scores and token scores of every family equal transformers'") {
  for (const char* name : {"score_llama", "score_qwen2", "score_qwen3"}) {
    CAPTURE(name);
    const auto loaded = model::load_checkpoint(models + name, {.score_head = true});
    CHECK(loaded.config.score_head);
    check_golden(loaded, golden_of(name), 1);
    check_golden(loaded, golden_of(name), 3);
  }
}

TEST_CASE("score head: weights in bfloat16 give the bits of the same numbers in fp32, values and scores alike") {
  const auto half = model::load_checkpoint(models + "score_llama", {.kept = precision::bfloat16, .score_head = true});
  const model::decoder narrow(half.config, model::placed_on(half.parameters, at::kCPU));
  const model::decoder wide(half.config, model::in_precision(half.parameters, precision::float32));
  CHECK((narrow.head().weight.scalar_type() == at::kBFloat16));
  const tokens prompt{5, 6, 7};
  const std::vector<tokens> answers{{8, 9, 10}, {11}};
  CHECK(model::answer_scores(narrow, prompt, answers) == model::answer_scores(wide, prompt, answers));
  CHECK(model::answer_values(narrow, prompt, answers) == model::answer_values(wide, prompt, answers));
}

TEST_CASE("score head: a written checkpoint is read again, and its config names the architecture and one label") {
  for (const auto& [name, architecture] : {std::pair{"score_llama", "LlamaForSequenceClassification"},
                                           {"score_qwen2", "Qwen2ForSequenceClassification"},
                                           {"score_qwen3", "Qwen3ForSequenceClassification"}}) {
    const tests::temporary_folder folder;
    model::save_checkpoint(folder / "written", model::load_checkpoint(models + name, {.score_head = true}));
    const auto config = nlohmann::json::parse(tests::read_file(folder / "written/config.json"));
    CHECK(config["architectures"] == nlohmann::json{architecture});
    CHECK(config["id2label"] == nlohmann::json{{"0", "LABEL_0"}});
    check_golden(model::load_checkpoint(folder / "written", {.score_head = true}), golden_of(name), 2);
  }
}

TEST_CASE("score head: refused where a language model is wanted, and with any other number of labels") {
  CHECK(error_of([] { model::load_checkpoint(models + "score_llama"); })
        == models + "score_llama: a sequence-classification model, want a language model");
  auto config = nlohmann::json::parse(tests::read_file(models + "score_llama/config.json"));
  const auto parse = [&] { return error_of([&] { model::parse_config(config.dump(), "config.json"); }); };
  config["id2label"] = {{"0", "a"}, {"1", "b"}};
  CHECK(parse().find("config.json: id2label: found") == 0);
  config.erase("id2label");
  CHECK(parse().find("id2label: found nothing, want one label") != std::string::npos); // transformers' default is two
  config["num_labels"] = 1;
  CHECK(parse() == "no error");
}

TEST_CASE("score head: a language model's is replaced by zeros, tied or not") {
  for (const auto& family : model::families()) {
    model::checkpoint plain;
    plain.config = tests::tiny_config(family.name);
    plain.parameters = tests::random_weights(plain.config, 3, at::kFloat, false);
    const auto fresh = model::with_score_head(plain);
    const std::vector<tokens> answers{{5, 6}, {7}};
    CHECK(model::answer_values(scoring(fresh), tokens{1, 2}, answers) == std::vector<float>{0, 0, 0});
    CHECK(model::with_score_head(fresh).parameters.size() == fresh.parameters.size());
  }
}

TEST_CASE(
    "score head: values do not depend on the other answers nor on how passes are cut, and empty answers have a score") {
  const auto loaded = model::load_checkpoint(models + "score_qwen2", {.score_head = true});
  const auto decoder = scoring(loaded);
  const tokens prompt{4, 5, 6};
  const std::vector<tokens> answers{{7, 8, 9}, {}, {10}};
  const auto together = model::answer_values(decoder, prompt, answers);
  const auto cut = model::answer_values(decoder, prompt, answers, 1);
  REQUIRE(together.size() == 4);
  REQUIRE(cut.size() == 4);
  for (std::size_t i = 0; i < 4; ++i)
    CHECK(std::abs(together[i] - cut[i]) < tolerance);
  CHECK(together[0] == doctest::Approx(together[3])); // both read at the prompt's last token
  const auto scores = model::answer_scores(decoder, prompt, answers);
  REQUIRE(scores.size() == 3);
  CHECK(scores[1] == doctest::Approx(together[0]));
  CHECK_THROWS_AS(model::answer_values(decoder, prompt, std::vector<tokens>{{32}}), std::invalid_argument);
  CHECK_THROWS_AS(model::answer_values(decoder, {}, answers), std::invalid_argument);
  CHECK_THROWS_AS(model::answer_values(decoder, prompt, std::vector<tokens>{tokens(200, 3)}), std::invalid_argument);
}

TEST_CASE("score head: its gradient is that of differences") {
  auto config = tests::tiny_config("llama");
  config.score_head = true;
  auto parameters = tests::random_weights(config, 5, at::kDouble, true);
  std::erase_if(parameters, [](const auto& p) { return p.name == "lm_head.weight"; });
  const at::Tensor head = at::randn({1, config.hidden_size}, at::kDouble).requires_grad_();
  parameters.push_back({"score.weight", head});
  const model::decoder decoder(config, parameters);
  const tokens prompt{1, 2}, answer{3, 4, 5};
  const model::prompt_and_answers group{prompt, {answer}};
  const auto packed = model::pack({&group, 1});
  const auto loss = [&] {
    model::training_operations ops(packed.groups);
    return model::token_scores(decoder.hidden(ops, packed.tokens, packed.positions), decoder.head(), packed.rows)
        .square()
        .sum();
  };
  loss().backward();
  const auto numeric = [&](const at::Tensor& parameter, std::int64_t i) {
    const at::NoGradGuard no_grad;
    const at::Tensor flat = parameter.view(-1);
    const double old = flat[i].item<double>(), h = 1e-6;
    flat[i] = old + h;
    const double above = loss().item<double>();
    flat[i] = old - h;
    const double below = loss().item<double>();
    flat[i] = old;
    return (above - below) / (2 * h);
  };
  for (const std::int64_t i : {0, 7, 31})
    CHECK(head.grad().view(-1)[i].item<double>() == doctest::Approx(numeric(head, i)).epsilon(1e-5));
  const at::Tensor deep = parameters[1].tensor; // a parameter of the first layer
  CHECK(deep.grad().view(-1)[3].item<double>() == doctest::Approx(numeric(deep, 3)).epsilon(1e-4));
}

} // namespace score_head_test
