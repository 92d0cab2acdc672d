#include "runtime/columns/adapter_base.hpp"
#include "runtime/columns/weights_bundle.hpp"
#include "runtime/model/checkpoint.hpp"
#include "runtime/model/float_tensor.hpp"
#include "tests/support/temporary_folder.hpp"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <filesystem>

namespace adapter_base_test {

using namespace millrace;

namespace {

const std::filesystem::path tiny = "tests/golden/models/tiny-chat";

/// Halves of random numbers.
model::adapter some_adapter(const model::weights& base, std::int64_t rank = 3, const char* targets = "(q|down)_proj$") {
  auto a = model::new_adapter(base, rank, 5, targets, 1);
  at::manual_seed(2);
  for (auto& half : a.parameters)
    half.tensor = at::randn_like(half.tensor).mul_(0.2);
  return a;
}

ticket ticket_of(const transport::bundle& whole) {
  return {.owner = 1, .id = 1, .bytes = whole.bytes(), .layout = whole.layout(), .checksums = whole.checksums()};
}

/// A model of the tiny one's shape, written so.
std::filesystem::path write_model(
    const std::filesystem::path& folder, precision kept, void (*change)(model::weights&) = [](model::weights&) {}) {
  auto made = model::load_checkpoint(tiny);
  change(made.parameters);
  model::save_checkpoint(folder, made, {.kept = kept});
  return folder;
}

std::string why_not(const std::filesystem::path& base, const transport::bundle& adapter, const ticket& version) {
  try {
    columns::adapter_base(base).merged(adapter, version);
  } catch (const std::exception& error) {
    return error.what();
  }
  return {};
}

} // namespace

TEST_CASE("adapter base: an adapter comes out of its bundle as it went in, and another bundle is refused") {
  const auto base = model::load_checkpoint(tiny).parameters;
  const auto a = some_adapter(base);
  const auto sent = columns::bundle_of(a);
  const auto came = columns::adapter_of(sent);
  CHECK(came.rank == 3);
  CHECK(came.alpha == 5);
  REQUIRE(came.parameters.size() == a.parameters.size());
  std::size_t numbers = 0;
  for (std::size_t i = 0; i < a.parameters.size(); ++i) {
    CHECK(came.parameters[i].name == a.parameters[i].name);
    CHECK(at::equal(came.parameters[i].tensor, a.parameters[i].tensor));
    numbers += static_cast<std::size_t>(a.parameters[i].tensor.numel());
  }
  CHECK(sent.bytes() == 4 * numbers + 16);
  CHECK_THROWS_AS(columns::adapter_of(columns::bundle_of(base)), std::out_of_range);
}

TEST_CASE("adapter base: with an adapter it comes to the version that the learner publishes, bit for bit") {
  const tests::temporary_folder folder;
  for (const auto stored : {precision::float32, precision::bfloat16}) {
    const auto path = write_model(folder / (stored == precision::float32 ? "wide" : "narrow"), stored);
    const auto weights = model::load_checkpoint(path).parameters;
    std::size_t numbers = 0;
    for (const auto& one : weights)
      numbers += static_cast<std::size_t>(one.tensor.numel());
    for (const auto sent : {precision::float32, precision::bfloat16}) {
      columns::adapter_base base(path);
      CHECK(base.bytes() == 0);
      for (const std::int64_t rank : {1, 3, 16}) { // one after another, as versions come, of any rank and layers
        const auto a = some_adapter(weights, rank, rank == 1 ? "_proj$" : "(q|down)_proj$");
        const auto want = columns::bundle_of(model::merged(weights, a), sent);
        const auto got = base.merged(columns::bundle_of(a), ticket_of(want));
        CHECK((got.layout() == want.layout()));
        CHECK(got.checksums() == want.checksums());
      }
      CHECK(base.bytes() == (stored == precision::bfloat16 ? 2 : 4) * numbers);
    }
  }
}

TEST_CASE("adapter base: one that is missing, is another one or does not fit is named in one line") {
  const tests::temporary_folder folder;
  const auto weights = model::load_checkpoint(tiny).parameters;
  const auto a = some_adapter(weights);
  const auto adapter = columns::bundle_of(a);
  const auto version = ticket_of(columns::bundle_of(model::merged(weights, a)));
  CHECK(why_not(tiny, adapter, version).empty());

  const auto gone = folder / "gone";
  CHECK(why_not(gone, adapter, version)
        == gone.string() + ": there is nothing; want a Hugging Face folder or a .gguf file");

  const auto other =
      write_model(folder / "other", precision::float32, [](model::weights& all) { all.back().tensor[0] += 1; });
  CHECK(why_not(other, adapter, version)
        == other.string() + ": with the policy's adapter it comes to another " + weights.back().name
               + ", want the model that the policy's process has read");

  auto longer = version;
  longer.layout.push_back({"z", dtype::f32, {1}});
  CHECK(why_not(tiny, adapter, longer)
        == tiny.string() + ": found nothing more, want the base of the policy's adapter, which has z: f32 [1]");
  auto wide = version;
  wide.layout[0].shape[0] += 1;
  CHECK(why_not(tiny, adapter, wide).starts_with(tiny.string() + ": found " + weights[0].name));

  auto elsewhere = a;
  for (auto& half : elsewhere.parameters)
    if (const auto at = half.name.find("layers.0"); at != std::string::npos)
      half.name.replace(at, 8, "layers.7");
  CHECK(why_not(tiny, columns::bundle_of(elsewhere), version)
        == "adapter of 'model.layers.7.mlp.down_proj': the base has no linear layer of that name");
  CHECK(why_not(tiny, columns::bundle_of(some_adapter(weights, 4)), version).ends_with("has read")); // another rank
}

} // namespace adapter_base_test
