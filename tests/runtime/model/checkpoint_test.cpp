#include "runtime/formats/durable_write.hpp"
#include "runtime/model/checkpoint.hpp"
#include "runtime/model/config_json.hpp"
#include "runtime/model/gguf_model.hpp"
#include "runtime/model/hf_folder.hpp"
#include "runtime/words/input_error.hpp"
#include "tests/runtime/model/random_decoder.hpp"
#include "tests/support/input_errors.hpp"
#include "tests/support/mutations.hpp"
#include "tests/support/temporary_folder.hpp"

#include <ATen/ATen.h>
#include <doctest/doctest.h>
#include <nlohmann/json.hpp>
#include <sys/resource.h>

#include <csignal>
#include <cstring>
#include <fstream>
#include <functional>

namespace checkpoint_test {

namespace {

using namespace millrace;
using nlohmann::json;
using tests::check_contains;
using tests::error_of;
using tests::temporary_folder;
namespace fs = std::filesystem;

const fs::path models = "tests/golden/models";

/// config.json of the smallest llama, with changes.
std::string config_with(const json& changes) {
  json c = {{"architectures", {"LlamaForCausalLM"}},
            {"hidden_size", 64},
            {"intermediate_size", 96},
            {"num_hidden_layers", 2},
            {"num_attention_heads", 4},
            {"vocab_size", 100}};
  c.update(changes);
  return c.dump();
}

model::model_config config_of(const json& changes) {
  return model::parse_config(config_with(changes), "config.json");
}

model::checkpoint tiny_checkpoint(std::string_view family = "llama") {
  model::checkpoint out;
  out.origin = "tiny";
  out.config = tests::tiny_config(family);
  out.parameters = tests::random_weights(out.config, 3, at::kFloat, false);
  return out;
}

void check_same(const model::weights& a, const model::weights& b) {
  REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    CHECK(a[i].name == b[i].name);
    CHECK(at::equal(a[i].tensor, b[i].tensor));
  }
}

std::size_t entries(const fs::path& folder) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder), {}));
}

} // namespace

TEST_CASE("config.json: what is silent takes transformers' defaults") {
  const auto llama = config_of(json::object());
  CHECK(llama.kv_heads == 4);
  CHECK(llama.head_dim == 16);
  CHECK(llama.rope_theta == 10000);
  CHECK(llama.rms_norm_eps == 1e-6);
  CHECK(llama.max_positions == 2048);
  CHECK_FALSE(llama.tie_embeddings);
  CHECK_FALSE(llama.attention_bias);
  CHECK_FALSE(llama.output_bias);
  CHECK(llama.scaling.type == model::rope_scaling::kind::none);

  const auto qwen2 = config_of({{"architectures", {"Qwen2ForCausalLM"}}});
  CHECK(qwen2.attention_bias);
  CHECK_FALSE(qwen2.output_bias);
  const auto qwen3 = config_of({{"architectures", {"Qwen3ForCausalLM"}}});
  CHECK(qwen3.head_dim == 128);
  CHECK_FALSE(qwen3.attention_bias);
  CHECK(config_of({{"attention_bias", true}}).output_bias);
  CHECK(config_of({{"architectures", nullptr}, {"model_type", "qwen3"}}).family->name == "qwen3");
}

TEST_CASE("config.json: both spellings of the rotary settings mean the same") {
  const json scaling = {
      {"factor", 8.0}, {"low_freq_factor", 1.0}, {"high_freq_factor", 4.0}, {"original_max_position_embeddings", 8192}};
  json old = scaling, now = scaling;
  old["type"] = "llama3";
  now["rope_type"] = "llama3";
  now["rope_theta"] = 500000.0;
  for (const auto& config :
       {config_of({{"rope_scaling", old}, {"rope_theta", 500000.0}}), config_of({{"rope_parameters", now}})}) {
    CHECK(config.rope_theta == 500000);
    CHECK(config.scaling.type == model::rope_scaling::kind::llama3);
    CHECK(config.scaling.factor == 8);
    CHECK(config.scaling.low_freq_factor == 1);
    CHECK(config.scaling.high_freq_factor == 4);
    CHECK(config.scaling.original_context == 8192);
  }
  CHECK(config_of({{"rope_scaling", {{"type", "linear"}, {"factor", 2.5}}}}).scaling.factor == 2.5);
  CHECK(config_of({{"rope_scaling", nullptr}}).scaling.type == model::rope_scaling::kind::none);
}

TEST_CASE("config.json: end tokens are one or several") {
  CHECK(config_of({{"eos_token_id", 7}}).eos_ids == std::vector<std::int32_t>{7});
  CHECK(config_of({{"eos_token_id", {7, 9}}}).eos_ids == std::vector<std::int32_t>{7, 9});
  CHECK(config_of({{"eos_token_id", nullptr}}).eos_ids.empty());
  CHECK(config_of({{"eos_token_id", {7, 100, -1, 7}}}).eos_ids == std::vector<std::int32_t>{7}); // of 100 tokens
}

TEST_CASE("config.json: what cannot be computed is refused by name") {
  const auto refused = [](const json& changes, std::string_view line) {
    check_contains(error_of([&] { config_of(changes); }), line);
  };
  refused({{"architectures", {"MistralForCausalLM"}}},
          R"(config.json: architectures: found ["MistralForCausalLM"], )"
          R"(want LlamaForCausalLM, Qwen2ForCausalLM or Qwen3ForCausalLM)");
  refused({{"architectures", nullptr}}, "architectures: found nothing");
  refused({{"hidden_size", nullptr}}, "config.json: hidden_size: found nothing, want an integer >= 1");
  refused({{"hidden_size", 0}}, "hidden_size: found 0");
  refused({{"hidden_size", 1e30}}, "hidden_size: found 1e+30");
  refused({{"hidden_size", "big"}}, "hidden_size: found 'big'");
  refused({{"num_key_value_heads", 3}}, "num_key_value_heads: found 3, want a divisor of num_attention_heads (4)");
  refused({{"head_dim", 7}}, "head_dim: found 7, want an even number");
  refused({{"max_position_embeddings", 1 << 30}}, "max_position_embeddings: found 1073741824");
  refused({{"hidden_act", "gelu"}}, "hidden_act: found 'gelu', want silu");
  refused({{"architectures", {"Qwen2ForCausalLM"}}, {"mlp_bias", true}}, "mlp_bias: found true, want false");
  refused({{"quantization_config", json::object()}}, "quantization_config");
  refused({{"partial_rotary_factor", 0.5}}, "partial_rotary_factor: found 0.5");
  refused({{"rope_scaling", {{"type", "dynamic"}, {"factor", 4}}}},
          "rope_scaling.type: found 'dynamic', want default, linear, llama3 or yarn");
  refused({{"rope_scaling", {{"type", "yarn"}}}}, "rope_scaling.factor: found nothing");
  refused({{"rope_scaling", {{"type", "yarn"}, {"factor", 4}, {"attention_factor", -1}}}}, "attention_factor");
  refused({{"rope_scaling", {{"type", "yarn"}, {"factor", 4}, {"beta_fast", -1}}}}, "beta_fast");
  refused({{"rope_parameters", {{"rope_type", "longrope"}}}}, "rope_parameters.rope_type: found 'longrope'");
  refused({{"rope_scaling", {{"type", "linear"}}}}, "rope_scaling.factor: found nothing");
  refused({{"rope_scaling", {{"type", "linear"}, {"factor", 0}}}}, "factor");
  refused({{"rope_scaling", 3}}, "rope_scaling.: found 3, want an object");
  refused({{"rope_theta", -1}}, "rope_theta");
  refused({{"rms_norm_eps", 0}}, "rms_norm_eps");
  refused({{"eos_token_id", "two"}}, "eos_token_id: found 'two', want a token id or a list of token ids");
  refused({{"layer_types", {"full_attention", "sliding_attention"}}}, "layer_types");
  refused({{"use_sliding_window", true}, {"sliding_window", 4096}, {"max_window_layers", 1}}, "use_sliding_window");
  CHECK(config_of({{"use_sliding_window", true}, {"sliding_window", 4096}, {"max_window_layers", 2}}).layers == 2);
  check_contains(error_of([] { model::parse_config("{\n  \"a\": 1,\n  oops\n}", "config.json"); }),
                 "config.json:3:3: not JSON");
}

TEST_CASE("config.json: what is written is read back") {
  for (const json& changes :
       {json{{"rope_scaling", {{"rope_type", "linear"}, {"factor", 4.0}}}, {"attention_bias", true}},
        json{{"rope_scaling", {{"type", "yarn"}, {"factor", 4.0}, {"beta_slow", 2.5}, {"truncate", false}}},
             {"mlp_bias", true}},
        json{{"architectures", {"Qwen2ForCausalLM"}}, {"eos_token_id", {1, 2}}, {"bos_token_id", 5}},
        json{{"architectures", {"Qwen3ForCausalLM"}}, {"tie_word_embeddings", true}, {"head_dim", 32}},
        json{{"rope_scaling",
              {{"rope_type", "llama3"},
               {"factor", 32.0},
               {"low_freq_factor", 1.0},
               {"high_freq_factor", 4.0},
               {"original_max_position_embeddings", 100}}}}}) {
    const auto first = config_of(changes);
    const std::string text = model::config_text(first, "float32");
    const auto second = model::parse_config(text, "again");
    CHECK(model::config_text(second, "float32") == text);
    CHECK(second.family == first.family);
    CHECK(second.scaling == first.scaling);
    CHECK(second.mlp_bias == first.mlp_bias);
    CHECK(second.attention_bias == first.attention_bias);
    CHECK(second.output_bias == first.output_bias);
    CHECK(second.eos_ids == first.eos_ids);
    CHECK(second.bos_id == first.bos_id);
  }
}

TEST_CASE("config.json: injured files are refused or read, never more") {
  const std::string whole = tests::read_file(models / "llama3" / "config.json");
  const int refused = tests::refused_of(whole, 5000, [](const std::string& text) { model::parse_config(text, "c"); });
  CHECK(refused > 2500);
}

TEST_CASE("gguf model: the config says what config.json of the same model says") {
  const auto same = [](const char* name) {
    const formats::gguf_file file(models / "gguf" / (std::string(name) + ".gguf"));
    const auto found = model::gguf_config(file);
    auto want = model::read_config(models / name / "config.json");
    want.eos_ids = found.eos_ids; // a GGUF holds one
    want.pad_id = found.pad_id;   // and this one no padding
    CHECK(model::config_text(found, "float32") == model::config_text(want, "float32"));
    check_same(model::gguf_weights(file, found), model::load_hf_folder(models / name, {}).parameters);
  };
  same("llama3");
  same("qwen2");
}

TEST_CASE("shapes: those of the file alone tell whether a decoder can be made of it, without a value") {
  for (const char* path : {"llama3", "qwen2", "gguf/llama3.gguf", "gguf/qwen2.gguf"}) {
    CAPTURE(path);
    const auto whole = model::load_checkpoint(models / path);
    auto shapes = model::load_checkpoint(models / path, {.weights = false, .shapes = true});
    REQUIRE(shapes.parameters.size() == whole.parameters.size());
    for (std::size_t i = 0; i < whole.parameters.size(); ++i) {
      CHECK(shapes.parameters[i].name == whole.parameters[i].name);
      CHECK(shapes.parameters[i].tensor.sizes() == whole.parameters[i].tensor.sizes());
      CHECK(shapes.parameters[i].tensor.is_meta());
    }
    model::check_shapes(shapes);
    shapes.config.hidden_size *= 2;
    check_contains(error_of([&] { model::check_shapes(shapes); }),
                   shapes.origin + ": parameter 'model.embed_tokens.weight': shape [");
    shapes.config.hidden_size /= 2;
    shapes.config.layers += 1;
    check_contains(error_of([&] { model::check_shapes(shapes); }), "missing, want shape");
    shapes.config.layers -= 2;
    check_contains(error_of([&] { model::check_shapes(shapes); }), "this architecture has none of that name");
  }
}

TEST_CASE("gguf model: injured files are refused or read, never more") {
  const temporary_folder folder;
  // The metadata and the tensors' entries: injuries to the weights themselves are just other weights.
  const std::string whole = tests::read_file(models / "gguf" / "llama3.gguf");
  const std::size_t head = 2400;
  REQUIRE(whole.size() > 2 * head);
  const int refused = tests::refused_of(whole.substr(0, head), 1500, [&](std::string bytes) {
    // What was cut away or put in shifts the rest, as in a file with a bad sector.
    tests::write_file(folder / "x.gguf", bytes + whole.substr(std::min(whole.size(), bytes.size())));
    model::load_gguf(folder / "x.gguf", {});
  });
  CHECK(refused > 700);
}

TEST_CASE("folder: shards are read through their index") {
  const auto loaded = model::load_checkpoint(models / "llama_sharded");
  CHECK(loaded.parameters.size() == 29);
  CHECK(std::is_sorted(loaded.parameters.begin(), loaded.parameters.end(),
                       [](const auto& a, const auto& b) { return a.name < b.name; }));
  CHECK(loaded.config.eos_ids == std::vector<std::int32_t>{2, 3});
  CHECK(loaded.tok == nullptr);
  CHECK(model::load_checkpoint(models / "llama_sharded", {false}).parameters.empty());
}

TEST_CASE("folder: an index that is not true is refused") {
  const temporary_folder folder;
  fs::copy(models / "llama_sharded", folder.path(), fs::copy_options::recursive);
  const fs::path index = folder / "model.safetensors.index.json";
  json document = json::parse(tests::read_file(index));
  const auto with = [&](const std::string& name, const json& shard) {
    json changed = document;
    changed["weight_map"][name] = shard;
    tests::write_file(index, changed.dump());
    return error_of([&] { model::load_checkpoint(folder.path()); });
  };
  const std::string first = document["weight_map"].begin().key();
  for (const char* outside :
       {"../../etc/passwd", "/etc/passwd", "..", "a/b.safetensors", "", "model.bin", "../model.safetensors"})
    check_contains(with(first, outside), "want the name of a .safetensors file in this folder");
  check_contains(with(first, 5), "found no string");
  check_contains(with(first, "model-00009-of-00009.safetensors"),
                 "'model-00009-of-00009.safetensors', which is missing");
  check_contains(with("model.ghost", document["weight_map"][first]), "says that 'model.ghost' lies in");
  tests::write_file(index, R"({"weight_map":{}})");
  check_contains(error_of([&] { model::load_checkpoint(folder.path()); }), "weight_map: want an object");
  json fewer = document;
  fewer["weight_map"].erase("model.norm.weight"); // not alone in its shard
  tests::write_file(index, fewer.dump());
  check_contains(error_of([&] { model::load_checkpoint(folder.path()); }), "the index does not say it lies here");
  const int refused = tests::refused_of(document.dump(), 300, [&](const std::string& bytes) {
    tests::write_file(index, bytes);
    model::read_hf_weights(folder.path());
  });
  CHECK(refused > 150);
}

TEST_CASE("folder: what is missing is named") {
  const temporary_folder folder;
  check_contains(error_of([&] { model::load_checkpoint(folder / "none"); }), "there is nothing");
  check_contains(error_of([&] { model::load_checkpoint(folder.path()); }), "has no config.json");
  tests::write_file(folder / "config.json", config_with(json::object()));
  check_contains(error_of([&] { model::load_checkpoint(folder.path()); }), "has neither model.safetensors nor");
}

TEST_CASE("folder: a tokenizer larger than the embedding is refused, a smaller one is padding") {
  const auto with_rows = [](std::int64_t rows) {
    const temporary_folder folder;
    json vocabulary = json::object();
    for (int i = 0; i < 256; ++i) {
      // GPT-2's alphabet: printable Latin-1 stands for itself, the rest follows at U+0100.
      static int next = 0;
      next = i == 0 ? 0 : next;
      const bool own = (i >= 33 && i <= 126) || (i >= 161 && i <= 172) || i >= 174;
      const int point = own ? i : 256 + next++;
      const std::string text =
          point < 128 ? std::string(1, static_cast<char>(point))
                      : std::string{static_cast<char>(0xc0 | point >> 6), static_cast<char>(0x80 | (point & 63))};
      vocabulary[text] = i;
    }
    const json tokenizer = {
        {"version", "1.0"},
        {"added_tokens", json::array()},
        {"normalizer", nullptr},
        {"pre_tokenizer",
         {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}}},
        {"post_processor", nullptr},
        {"decoder", {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}}},
        {"model", {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", json::array()}}}};
    tests::write_file(folder / "tokenizer.json", tokenizer.dump());
    tests::write_file(folder / "config.json", config_with({{"vocab_size", rows}}));
    return error_of([&] { model::load_checkpoint(folder.path(), {false}); });
  };
  CHECK(with_rows(256).empty());
  CHECK(with_rows(300).empty());
  check_contains(with_rows(255), "the tokenizer has 256 tokens but the embedding has 255 rows");
}

TEST_CASE("save: what is written is read back, in one file or many") {
  const auto saved = tiny_checkpoint("qwen3");
  for (const std::int64_t shard_bytes : {std::int64_t{5'000'000'000}, std::int64_t{20'000}, std::int64_t{1}}) {
    CAPTURE(shard_bytes);
    const temporary_folder folder;
    const fs::path target = folder / "new" / "model";
    model::save_checkpoint(target, saved, {precision::float32, shard_bytes});
    const auto loaded = model::load_checkpoint(target);
    check_same(loaded.parameters, saved.parameters);
    CHECK(model::config_text(loaded.config, "") == model::config_text(saved.config, ""));
    CHECK(fs::exists(target / "model.safetensors.index.json") == (shard_bytes < 1'000'000));
    CHECK(entries(folder / "new") == 1);
  }
}

TEST_CASE("save: two writers, each with half of every parameter, write the files that one writes") {
  const auto saved = tiny_checkpoint("qwen3");
  for (const std::int64_t shard_bytes : {std::int64_t{5'000'000'000}, std::int64_t{20'000}}) {
    CAPTURE(shard_bytes);
    const temporary_folder folder;
    model::save_checkpoint(folder / "one", saved, {precision::float32, shard_bytes});
    fs::create_directory(folder / "two");
    model::write_description_files(folder / "two", saved);
    for (const bool first : {true, false}) {
      model::checkpoint_parts files(folder / "two", saved.parameters, shard_bytes);
      if (first) {
        files.make_room();
        files.make_room(); // begun again, what is there is replaced
      }
      for (std::size_t i = saved.parameters.size(); i-- > 0;) {
        const auto numbers = saved.parameters[i].tensor.view(-1);
        const auto half = numbers.numel() / 2;
        files.write(i, first ? 0 : half,
                    first ? numbers.narrow(0, 0, half) : numbers.narrow(0, half, numbers.numel() - half));
      }
      files.finish();
    }
    CHECK(entries(folder / "two") == entries(folder / "one"));
    for (const auto& file : fs::directory_iterator(folder / "one"))
      CHECK(tests::read_file(file.path()) == tests::read_file(folder / "two" / file.path().filename()));
  }
}

TEST_CASE("save: bfloat16 halves the file and rounds once") {
  const temporary_folder folder;
  const auto saved = tiny_checkpoint();
  model::save_checkpoint(folder / "b", saved, {precision::bfloat16});
  const auto loaded = model::load_checkpoint(folder / "b");
  for (std::size_t i = 0; i < saved.parameters.size(); ++i)
    CHECK(at::equal(loaded.parameters[i].tensor, saved.parameters[i].tensor.to(at::kBFloat16).to(at::kFloat)));
  CHECK(json::parse(tests::read_file(folder / "b" / "config.json"))["torch_dtype"] == "bfloat16");
}

TEST_CASE("save: a folder that holds something is left as it is") {
  const temporary_folder folder;
  fs::create_directory(folder / "full");
  tests::write_file(folder / "full" / "x", "kept");
  check_contains(error_of([&] { model::save_checkpoint(folder / "full", tiny_checkpoint()); }),
                 "holds something already");
  CHECK(tests::read_file(folder / "full" / "x") == "kept");
  CHECK(entries(folder / "full") == 1);
  check_contains(error_of([&] { model::save_checkpoint(folder / "full" / "x", tiny_checkpoint()); }), "is no folder");
  fs::create_directory(folder / "empty");
  model::save_checkpoint(folder / "empty", tiny_checkpoint());
  CHECK(fs::exists(folder / "empty" / "model.safetensors"));
}

TEST_CASE("save: when the disk takes no more, one line says so and nothing is left") {
  const temporary_folder folder;
  const auto saved = tiny_checkpoint();
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  auto* const handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{10'000, before.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
  const std::string error = error_of([&] { model::save_checkpoint(folder / "m", saved); });
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  check_contains(error, "model.safetensors");
  check_contains(error, std::strerror(EFBIG));
  CHECK(entries(folder.path()) == 0);
}

TEST_CASE("save: a file that is there is never written over") {
  const temporary_folder folder;
  tests::write_file(folder / "f", "kept");
  check_contains(error_of([&] { formats::new_file(folder / "f").write("x"); }), "cannot create: File exists");
  CHECK(tests::read_file(folder / "f") == "kept");
}

TEST_CASE("durable write: a file that is not finished is not there") {
  const temporary_folder folder;
  {
    formats::new_file file(folder / "a");
    file.write("half");
    CHECK(entries(folder.path()) == 1);
  }
  CHECK(entries(folder.path()) == 0);
  {
    formats::new_folder target(folder / "b");
    tests::write_file(target.folder() / "x", "half");
  }
  CHECK(entries(folder.path()) == 0);
}

} // namespace checkpoint_test
