#include "runtime/roles/reference_core.hpp"

#include "runtime/columns/answer_columns.hpp"
#include "runtime/columns/column_builder.hpp"
#include "runtime/columns/column_origin.hpp"
#include "runtime/formats/durable_write.hpp"
#include "runtime/model/answer_logprobs.hpp"
#include "runtime/model/float_tensor.hpp"
#include "runtime/model/inference_decoder.hpp"
#include "runtime/roles/role_model.hpp"
#include "runtime/words/input_error.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>

#include <cmath>
#include <fstream>
#include <stdexcept>

namespace millrace::roles {
namespace {

std::filesystem::path own_folder(const std::filesystem::path& checkpoint, const std::string& role) {
  return checkpoint / ("reference-" + role);
}

} // namespace

reference_core reference_core::load(const pipeline::pipeline& p, const pipeline::role& role, int threads) {
  const auto& table = std::get<pipeline::reference_table>(role.options);
  const auto kept = p.models.at(table.model).dtype;
  return {table,
          load_model(p, table.model, table.ema > 0 ? precision::float32 : kept),
          pipeline::sampling_temperature(p),
          threads,
          device_for(p, role, table.model),
          kept};
}

reference_core::reference_core(pipeline::reference_table table, model::checkpoint loaded, double temperature,
                               int threads, at::Device device, precision kept)
    : table_(std::move(table)), model_(std::move(loaded)), temperature_(temperature), threads_(threads),
      device_(device), kept_(kept) {
  use(std::move(model_.parameters));
}

void reference_core::use(model::weights weights) {
  model_.parameters.clear();
  auto scored_with = model::in_precision(weights, kept_);
  if (follows())
    model_.parameters = table_.ema > 0 ? std::move(weights) : scored_with;
  weights.clear();
  decoder_ = model::inference_decoder(model_.config, std::move(scored_with), device_);
}

std::vector<float> reference_core::logprobs(std::span<const std::int32_t> prompt,
                                            std::span<const std::vector<std::int32_t>> answers,
                                            const model::segment_begins& segments) const {
  return model::by_segment(
      [this](auto before, auto behind) {
        return model::answer_logprobs(*decoder_, before, behind, temperature_, threads_);
      },
      prompt, answers, segments);
}

transport::bundle reference_core::logprob_columns(const columns::column_set& columns) const {
  const auto logprob =
      logprobs(columns.view(column::prompt_tokens), columns::answers_in(columns), columns::segments_in(columns));
  columns::column_builder added;
  added.add(column::ref_logprob, logprob);
  if (follows())
    added.add_all(columns::origin_of(column::ref_logprob.name, {.version = version_, .threads = 0}));
  return added.finish();
}

bool reference_core::wants(std::uint32_t version) const {
  if (version <= version_)
    return false;
  if (table_.ema > 0)
    return true;
  const auto every = static_cast<std::uint32_t>(table_.refresh_every);
  return every > 0 && version / every > version_ / every;
}

void reference_core::follow(std::uint32_t version, const model::weights& policy) {
  if (!wants(version))
    return;
  if (policy.size() != model_.parameters.size())
    throw std::invalid_argument("the weights have " + std::to_string(policy.size()) + " tensors, want "
                                + std::to_string(model_.parameters.size()) + " as in this model");
  const double kept = table_.ema > 0 ? std::pow(table_.ema, version - version_) : 0;
  model::weights next;
  for (std::size_t i = 0; i < policy.size(); ++i) {
    const auto& own = model_.parameters[i];
    if (own.name != policy[i].name || own.tensor.sizes() != policy[i].tensor.sizes())
      throw std::invalid_argument("the weights are of another model: found '" + policy[i].name + "', want '" + own.name
                                  + "' of the same shape");
    const at::Tensor fresh = policy[i].tensor.to(at::kFloat);
    next.push_back({own.name, kept > 0 ? own.tensor * kept + fresh * (1 - kept) : fresh});
  }
  use(std::move(next));
  version_ = version;
}

void reference_core::write_checkpoint(const std::filesystem::path& folder, const std::string& role) const {
  const auto own = own_folder(folder, role);
  std::filesystem::create_directories(own / "model");
  model::write_checkpoint_files(own / "model", model_);
  formats::write_new_file(own / "version", std::to_string(version_) + '\n');
}

void reference_core::read_checkpoint(const std::filesystem::path& folder, const std::string& role) {
  const auto own = own_folder(folder, role);
  auto written = model::load_checkpoint(own / "model");
  std::ifstream file(own / "version");
  if (!(file >> version_))
    throw input_error((own / "version").string()
                      + ": missing or damaged, want the version that the reference followed");
  use(std::move(written.parameters));
}

} // namespace millrace::roles
