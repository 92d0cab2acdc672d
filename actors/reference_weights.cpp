#include "actors/reference_weights.hpp"

#include "runtime/input_error.hpp"
#include "runtime/model/answer_logprobs.hpp"
#include "runtime/model/inference_decoder.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>

#include <cmath>
#include <fstream>
#include <stdexcept>

namespace millrace::actors {
namespace {

std::filesystem::path own_folder(const std::filesystem::path& checkpoint, const std::string& role) {
  return checkpoint / ("reference-" + role);
}

} // namespace

reference_weights::reference_weights(pipeline::reference_table table, model::checkpoint loaded, double temperature, int threads,
                                     at::Device device)
    : table_(std::move(table)), model_(std::move(loaded)), temperature_(temperature), threads_(threads), device_(device) {
  use(std::move(model_.parameters));
}

void reference_weights::use(model::weights weights) {
  model_.parameters = std::move(weights);
  decoder_ = model::inference_decoder(model_.config, model_.parameters, device_);
}

std::vector<float> reference_weights::logprobs(std::span<const std::int32_t> prompt,
                                               std::span<const std::vector<std::int32_t>> answers) const {
  return model::answer_logprobs(*decoder_, prompt, answers, temperature_, threads_);
}

bool reference_weights::wants(std::uint32_t version) const {
  if (version <= version_)
    return false;
  if (table_.ema > 0)
    return true;
  const auto every = static_cast<std::uint32_t>(table_.refresh_every);
  return every > 0 && version / every > version_ / every;
}

void reference_weights::follow(std::uint32_t version, const model::weights& policy) {
  if (!wants(version))
    return;
  if (policy.size() != model_.parameters.size())
    throw std::invalid_argument("weights of another model: " + std::to_string(policy.size()) + " tensors, want "
                                + std::to_string(model_.parameters.size()));
  const double kept = table_.ema > 0 ? std::pow(table_.ema, version - version_) : 0;
  model::weights next;
  for (std::size_t i = 0; i < policy.size(); ++i) {
    const auto& own = model_.parameters[i];
    if (own.name != policy[i].name || own.tensor.sizes() != policy[i].tensor.sizes())
      throw std::invalid_argument("weights of another model: '" + policy[i].name + "' where '" + own.name + "' was wanted");
    next.push_back({own.name, own.tensor * kept + policy[i].tensor * (1 - kept)});
  }
  use(std::move(next));
  version_ = version;
}

void reference_weights::write_checkpoint(const std::filesystem::path& folder, const std::string& role) const {
  const auto own = own_folder(folder, role);
  std::filesystem::create_directories(own / "model");
  model::write_checkpoint_files(own / "model", model_);
  std::ofstream(own / "version") << version_ << '\n';
}

void reference_weights::read_checkpoint(const std::filesystem::path& folder, const std::string& role) {
  const auto own = own_folder(folder, role);
  auto written = model::load_checkpoint(own / "model");
  std::ifstream file(own / "version");
  if (!(file >> version_))
    throw input_error((own / "version").string() + ": missing or damaged, want the version that the reference followed");
  use(std::move(written.parameters));
}

} // namespace millrace::actors
